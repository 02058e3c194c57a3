"""Rules of normalisations; statistics are made again, in fp32."""

from __future__ import annotations

import onnx_ir as ir

from underpaint_engines.vjp.rule import Gradients, Node
from underpaint_engines.vjp.writer import Writer, dtype_of, shape_of


def layer_norm(write: Writer, node: Node) -> Gradients:
    """``y = w n(x) + b`` along the last axis."""
    node.require(axis=-1)
    dtype = dtype_of(node.output)
    value, weight, gradient = (
        write.fp32(each, dtype) for each in (node.input(0), node.input(1), node.gradient)
    )
    back = _through(write, value, write("Mul", gradient, weight), _epsilon(node))
    return [write.cast(back, dtype)]


def group_norm(write: Writer, node: Node) -> Gradients:
    """``y = w n(x) + b`` over groups of channels of ``[R, C, h, w]``; w and b by channel."""
    dtype, shape = dtype_of(node.output), shape_of(node.input(0))
    groups = write.whole([-1, node.forward.attributes["num_groups"].as_int(), _size(node)])
    each = write.whole([1, int(shape[1]), *[1] * (len(shape) - 2)])
    weight = write("Reshape", write.fp32(node.input(1), dtype), each)
    weighted = write("Mul", write.fp32(node.gradient, dtype), weight)
    value = write("Reshape", write.fp32(node.input(0), dtype), groups)
    back = _through(write, value, write("Reshape", weighted, groups), _epsilon(node))
    return [write.cast(write.like(back, node.input(0)), dtype)]


def _through(write: Writer, value: ir.Value, gradient: ir.Value, epsilon: float) -> ir.Value:
    """Return the gradient of x from that of ``n = (x - mean) s``, ``s = 1 / sqrt(var + epsilon)``.

    It is projected off the mean and off n, which are fixed: ``s (g - mean(g) - n mean(g n))``.
    """
    centred = write("Sub", value, write.mean(value))
    variance = write.mean(write("Mul", centred, centred))
    deviation = write("Sqrt", write("Add", variance, write.number(epsilon)))
    normal = write("Div", centred, deviation)
    along = write("Mul", normal, write.mean(write("Mul", gradient, normal)))
    off_mean = write("Sub", gradient, write.mean(gradient))
    return write("Div", write("Sub", off_mean, along), deviation)


def _epsilon(node: Node) -> float:
    found = node.forward.attributes.get("epsilon")
    return 1e-5 if found is None else found.as_float()


def _size(node: Node) -> int:
    """Return how many elements a group has."""
    total = 1
    for side in shape_of(node.input(0))[1:]:
        if not isinstance(side, int):
            raise node.refused("open sides")
        total *= side
    return total // node.forward.attributes["num_groups"].as_int()
