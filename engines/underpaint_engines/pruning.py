"""What a runtime compiles: a graph with some of its outputs; what nobody asks for costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from underpaint_engines.bundle import Graph, Port
from underpaint_engines.derivative import Derivative
from underpaint_engines.vjp.differentiate import gradient_graph
from underpaint_engines.vjp.residuals import residuals
from underpaint_engines.vjp.writer import dtype_of, shape_of


def pruned(folder: Path, graph: Graph, outputs: Sequence[str]) -> bytes:
    """Return a graph of the bundle in `folder` as an ONNX file; any of its values are `outputs`.

    No node is left that only the others need. A `Derivative` is made here. Weights stay where they
    are, named relative to the folder of the graph's file.

    Raises
    ------
    NotOfferedError
        If the graph has no derivative.
    """
    return _content(_pruned(folder, graph, outputs))


def without_weights(folder: Path, graph: Graph, outputs: Sequence[str]) -> bytes:
    """Return the same, with inputs of their names in place of the weights that lie elsewhere.

    Raises
    ------
    NotOfferedError
        If the graph has no derivative.
    """
    model = _pruned(folder, graph, outputs)
    for value in list(model.graph.initializers.values()):
        if isinstance(value.const_value, ir.ExternalTensor):
            del model.graph.initializers[value.name or ""]
            value.const_value = None
            model.graph.inputs.append(value)
    return _content(model)


def _pruned(folder: Path, graph: Graph, outputs: Sequence[str]) -> ir.Model:
    model = ir.load(folder / graph.file)
    if isinstance(graph, Derivative):
        gradient_graph(model, graph.point, graph.pulled, graph.residuals)
    values = {value.name: value for node in model.graph for value in node.outputs}
    model.graph.outputs[:] = [values[name] for name in outputs]
    RemoveUnusedNodesPass()(model)
    return model


def _content(model: ir.Model) -> bytes:
    content: bytes = ir.to_proto(model).SerializeToString()
    return content


def residual_ports(folder: Path, graph: Derivative) -> tuple[Port, ...]:
    """Return the values of the graph under a derivative that are kept for it (`residuals`).

    Raises
    ------
    NotOfferedError
        If the graph has no derivative.
    """
    model = ir.load(folder / graph.file)
    return tuple(
        Port(name=value.name or "", dtype=dtype_of(value).numpy().name, shape=shape_of(value))
        for value in residuals(model, graph.point, graph.pulled)
    )
