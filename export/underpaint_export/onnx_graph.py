"""From a module to an ONNX graph."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from underpaint.precision import Dtype
from underpaint_engines.bundle import Graph, Port

from underpaint_export.graphs import GraphSpec

ROWS = "rows"
TRACED_ROWS = 63
"""At 64 rows diffusers' upsampling asks for another memory layout, which ONNX does not know.

A trace that may have more is refused and made again; the graph takes any number of rows.
"""


def to_onnx(spec: GraphSpec, opset: int) -> ir.Model:
    """Trace a graph; a batched one has dynamic rows, all other dimensions are the example's.

    Opset 23 writes every fused attention as one `Attention` node, opset 20 spells it out.
    """
    rows = torch.export.Dim(ROWS, min=1, max=TRACED_ROWS)
    axes: list[Any] = [{row_axis(name): rows} for name in spec.inputs]
    fixed = len(axes) - spec.variadic
    shapes = (*axes[:fixed], tuple(axes[fixed:])) if spec.variadic else tuple(axes)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            spec.module.eval(),
            tuple(spec.inputs.values()),
            dynamo=True,
            opset_version=opset,
            input_names=list(spec.inputs),
            output_names=list(spec.outputs),
            dynamic_shapes=shapes if spec.batched else None,
            verbose=False,
        )
    assert program is not None  # noqa: S101  (it is where no file was named)
    # What torch notes down of each node names the files of the machine that exported.
    ClearMetadataAndDocStringPass()(program.model)
    return program.model


def row_axis(name: str) -> int:
    """Return which axis of an input counts rows; the self gates have sites first."""
    return 1 if name.startswith("self_") else 0


def describe(model: ir.Model, file: str, dtype: Dtype, max_rows: int) -> Graph:
    """Return what the manifest says of a graph."""
    return Graph(
        file=file,
        dtype=dtype,
        inputs=tuple(_port(value) for value in model.graph.inputs),
        outputs=tuple(_port(value) for value in model.graph.outputs),
        max_rows=max_rows,
    )


def _port(value: ir.Value) -> Port:
    name, dtype = value.name, value.dtype
    assert name is not None  # noqa: S101  (torch names, types and shapes all ports)
    assert dtype is not None  # noqa: S101
    assert value.shape is not None  # noqa: S101
    shape = tuple(each if isinstance(each, int) else str(each.value) for each in value.shape)
    return Port(name=name, dtype=dtype.numpy().name, shape=shape)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's talk about itself (absent torchvision, deprecations of its own) off stderr."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
