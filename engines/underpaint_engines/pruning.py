"""What a runtime compiles: a graph with some of its outputs; what nobody asks for costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from underpaint_engines.bundle import Graph
from underpaint_engines.derivative import Derivative
from underpaint_engines.vjp.differentiate import gradient_graph


def pruned(folder: Path, graph: Graph, outputs: Sequence[str]) -> bytes:
    """Return a graph of the bundle in `folder` with some of its outputs, as an ONNX file.

    No node is left that only the others need. A `Derivative` is made here. Weights stay where they
    are, named relative to the folder of the graph's file.

    Raises
    ------
    NotOfferedError
        If the graph has no derivative.
    """
    model = ir.load(folder / graph.file)
    if isinstance(graph, Derivative):
        gradient_graph(model, graph.point, graph.pulled)
    kept = [value for value in model.graph.outputs if value.name in set(outputs)]
    model.graph.outputs.clear()
    model.graph.outputs.extend(kept)
    RemoveUnusedNodesPass()(model)
    content: bytes = ir.to_proto(model).SerializeToString()
    return content
