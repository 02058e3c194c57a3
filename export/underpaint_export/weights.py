"""One safetensors file for the weights of several ONNX graphs.

ONNX lets a graph keep tensors outside of its file, at an offset in another; the offsets may as well
be those within a safetensors file. The plain and the edited UNet then share their weights on disk
and, where a runtime maps files, in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from safetensors.torch import save_file
from torch import Tensor

LEAST_BYTES = 1024
"""Smaller tensors stay in the graph: shapes and the like, which runtimes read while compiling."""


def share_weights(models: Sequence[ir.Model], file: Path, known: Path | None = None) -> None:
    """Move the large initializers of graphs into `file`, equal ones once.

    The graphs are to be saved beside it. What the file `known`, beside it too, has already is taken
    from there.
    """
    keys: dict[int, str] = {}
    contents: dict[str, Tensor] = {}
    for value, tensor in _large(models):
        content = _to_torch(tensor)
        key = _key(content)
        keys[id(value)] = key
        contents.setdefault(key, content)
    elsewhere = _places(known) if known else {}
    save_file({key: value for key, value in contents.items() if key not in elsewhere}, file)
    places = {**elsewhere, **_places(file)}
    for value, tensor in _large(models):
        holder, offset, length = places[keys[id(value)]]
        value.const_value = ir.ExternalTensor(
            holder,
            offset,
            length,
            tensor.dtype,
            shape=ir.Shape(tensor.numpy().shape),
            name=value.name or "",
            base_dir=file.parent,
        )


def _large(models: Sequence[ir.Model]) -> Iterator[tuple[ir.Value, ir.TensorProtocol]]:
    for model in models:
        for value in model.graph.initializers.values():
            if value.const_value is not None and value.const_value.nbytes >= LEAST_BYTES:
                yield value, value.const_value


def _to_torch(tensor: ir.TensorProtocol) -> Tensor:
    array = np.ascontiguousarray(tensor.numpy())
    if tensor.dtype == ir.DataType.BFLOAT16:  # which numpy does not know by itself
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _key(content: Tensor) -> str:
    """Return a name for a content, its type and its shape."""
    kind = f"{content.dtype}{tuple(content.shape)}".encode()
    return hashlib.sha256(kind + content.view(torch.uint8).numpy().tobytes()).hexdigest()


def _places(file: Path) -> dict[str, tuple[str, int, int]]:
    """Return the file's name, the offset and length in bytes of every tensor of it."""
    with file.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
    return {
        name: (file.name, 8 + size + start, end - start)
        for name, entry in header.items()
        if name != "__metadata__"
        for start, end in [entry["data_offsets"]]
    }
