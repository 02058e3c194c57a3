"""A graph with some of its outputs: a reading that nobody asks for costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass


def pruned(file: Path, outputs: Sequence[str]) -> bytes:
    """Return an ONNX file with some of its outputs, and no node that only the others need.

    Weights that lie outside of the file stay where they are, named relative to its folder.
    """
    model = ir.load(file)
    kept = [value for value in model.graph.outputs if value.name in set(outputs)]
    model.graph.outputs.clear()
    model.graph.outputs.extend(kept)
    RemoveUnusedNodesPass()(model)
    content: bytes = ir.to_proto(model).SerializeToString()
    return content
