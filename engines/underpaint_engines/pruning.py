"""A graph for a use of it: what nobody asks for costs nothing, nor what is zero."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from underpaint_engines.zeros import drop_zeros


def pruned(file: Path, outputs: Sequence[str], zeros: Collection[str] = ()) -> bytes:
    """Return an ONNX file with some of its outputs, and no node that only the others need.

    `zeros` are inputs that are always zero: what depends on them is simplified, and they are gone
    where nothing does (`underpaint_engines.zeros`). Weights that lie outside of the file stay where
    they are, named relative to its folder.
    """
    model = ir.load(file)
    kept = [value for value in model.graph.outputs if value.name in set(outputs)]
    model.graph.outputs.clear()
    model.graph.outputs.extend(kept)
    RemoveUnusedNodesPass()(model)
    if zeros:
        drop_zeros(model, zeros)
    content: bytes = ir.to_proto(model).SerializeToString()
    return content


@contextmanager
def beside(file: Path, content: bytes) -> Iterator[Path]:
    """Lend an ONNX file with another content than `file` has, and the weights of that beside it.

    They are links, where the bundle's folder can be written to, and else copies.
    """
    writable = os.access(file.parent, os.W_OK)
    with TemporaryDirectory(prefix=".", dir=file.parent if writable else None) as temporary:
        for weights in file.parent.glob("*.safetensors"):
            link_or_copy(weights, Path(temporary))
        written = Path(temporary) / file.name
        written.write_bytes(content)
        yield written


def link_or_copy(file: Path, folder: Path) -> Path:
    """Return a file that is in `folder` as well, without a copy where that can be."""
    other = folder / file.name
    try:
        other.hardlink_to(file)
    except OSError:  # another disk, or one that has no such links
        shutil.copyfile(file, other)
    return other
