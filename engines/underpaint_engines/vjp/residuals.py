"""What the way back reads of the way there: the activations to keep between the two."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from underpaint_engines.vjp.differentiate import gradient_graph

REMADE = frozenset(
    {
        "Cast",
        "Concat",
        "Gather",
        "Identity",
        "Mul",
        "Reshape",
        "Resize",
        "Sigmoid",
        "Split",
        "Transpose",
        "Unsqueeze",
        "Where",
    }
)
"""Operators that cost no more than keeping what they make: they run again on the way back."""


def residuals(model: ir.Model, point: str, pulled: Collection[str]) -> list[ir.Value]:
    """Return the values of a model that its gradient by `point` is made from.

    Given these, `gradient_graph` repeats nothing but operators of `REMADE`. The model is consumed.

    Raises
    ------
    NotOfferedError
        As `gradient_graph`.
    """
    forward = set(model.graph)
    gradient_graph(model, point, pulled)
    again = {node for node in model.graph if node not in forward}
    found: dict[ir.Value, None] = {}
    for node in reversed(model.graph):
        if node not in again:
            continue
        for value in filter(None, node.inputs):
            producer = value.producer()
            if producer is None or producer in again:
                continue
            if producer.op_type in REMADE:
                again.add(producer)
            else:
                found[value] = None
    return list(found)
