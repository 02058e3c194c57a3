"""Partial evaluation of a graph: what is zero is not computed.

The gradient of a UNet is linear in its cotangents, and most energies have cotangents for a few
readings alone. Without the others the layers that only they reach are dead, on the way back and,
with no cotangent for the noise, on the way there too. The same holds for edits that a run has not.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

_LINEAR = frozenset(
    (
        *("Cast", "Conv", "ConvTranspose", "AveragePool", "Div", "Expand", "Gather", "GatherND"),
        *("Identity", "Neg", "ReduceMean", "ReduceSum", "Reshape", "Slice", "Split", "Squeeze"),
        *("Transpose", "Unsqueeze"),
    )
)
"""Zero where their first input is; a convolution, only without a bias."""

_VALUE, _MASK = 2, 3
"""Inputs of `Attention`."""


def drop_zeros(model: ir.Model, zeros: Collection[str]) -> None:
    """Rewrite a graph for inputs, named in `zeros`, that are zero (or false) in every call.

    An input that nothing depends on any more is gone; one that something still takes stays, and is
    to be given as zeros.
    """
    graph = model.graph
    zero: set[int] = {id(value) for value in graph.inputs if value.name in zeros}
    outputs = {id(value) for value in graph.outputs}
    for node in graph:
        others = _is_zero(node, zero)
        if others is True:
            zero.update(id(value) for value in node.outputs)
        elif isinstance(others, ir.Value) and id(node.outputs[0]) not in outputs:
            if id(others) in zero:
                zero.add(id(node.outputs[0]))
            node.outputs[0].replace_all_uses_with(others)
        elif node.op_type == "Attention" and _has(node, _MASK, zero):
            node.resize_inputs(_MASK)
    RemoveUnusedNodesPass()(model)
    for value in [each for each in graph.inputs if each.name in zeros and not each.uses()]:
        graph.inputs.remove(value)


def _is_zero(node: ir.Node, zero: set[int]) -> bool | ir.Value:
    """Tell whether a node's outputs are zero, or return the input that its output equals."""
    kind, inputs = node.op_type, node.inputs
    if kind in {"Add", "Sub"}:
        return _sum(node, zero)
    if kind == "Where":
        return _choice(node, zero)
    if kind in _LINEAR:
        return _has(node, 0, zero) and not (kind.startswith("Conv") and len(inputs) > 2)
    deciding = {"Mul": (0, 1), "MatMul": (0, 1), "Attention": (_VALUE,)}
    if kind == "Concat":
        return all(_has(node, index, zero) for index in range(len(inputs)))
    return any(_has(node, index, zero) for index in deciding.get(kind, ()))


def _sum(node: ir.Node, zero: set[int]) -> bool | ir.Value:
    first, second = (_has(node, index, zero) for index in range(2))
    if first and second:
        return True
    kept = node.inputs[0 if second else 1]
    if (second or (first and node.op_type == "Add")) and _same_shape(node, kept):
        assert kept is not None  # noqa: S101  (a sum has two inputs)
        return kept
    return False


def _choice(node: ir.Node, zero: set[int]) -> bool | ir.Value:
    """Follow a choice whose condition is false, or between zeros."""
    condition, first, second = (_has(node, index, zero) for index in range(3))
    if second and (first or condition):
        return True
    other = node.inputs[2]
    if condition and other is not None and _same_shape(node, other):
        return other
    return False


def _has(node: ir.Node, index: int, zero: set[int]) -> bool:
    value = node.inputs[index] if index < len(node.inputs) else None
    return value is not None and (id(value) in zero or _is_constant_zero(value))


def _is_constant_zero(value: ir.Value) -> bool:
    constant = value.const_value
    if constant is None or constant.size > 1:
        return False
    return bool(np.all(constant.numpy() == 0))


def _same_shape(node: ir.Node, value: ir.Value | None) -> bool:
    """Tell whether an input is not broadcast."""
    out = node.outputs[0].shape
    return value is not None and out is not None and value.shape == out
