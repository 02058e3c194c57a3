"""Rules of operators that move, repeat, join or average elements."""

from __future__ import annotations

from math import prod

from underpaint_engines.vjp.rule import Gradients, Node
from underpaint_engines.vjp.writer import Writer, dtype_of, shape_of


def reshape(write: Writer, node: Node) -> Gradients:
    """Reshape back; a graph has one open side at most, the rows."""
    return [write.like(node.gradient, node.input(0))]


def transpose(write: Writer, node: Node) -> Gradients:
    """Permute back."""
    order = list(node.forward.attributes["perm"].as_ints())
    back = [order.index(axis) for axis in range(len(order))]
    return [write("Transpose", node.gradient, perm=back)]


def concat(write: Writer, node: Node) -> Gradients:
    """Cut into the parts that were joined."""
    axis = node.forward.attributes["axis"].as_int()
    sizes = [shape_of(node.input(k))[axis] for k in range(len(node.forward.inputs))]
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) < len(sizes):
        raise node.refused("open sides")
    return write.split(node.gradient, known, axis)


def split(write: Writer, node: Node) -> Gradients:
    """Join; a part without a gradient has one of zero."""
    axis = node.forward.attributes["axis"].as_int()
    zero = write.number(0, dtype_of(node.output))
    parts = [
        write("Mul", part, zero) if gradient is None else gradient
        for part, gradient in zip(node.forward.outputs, node.gradients, strict=True)
    ]
    return [write("Concat", *parts, axis=axis)]


def gather(write: Writer, node: Node) -> Gradients:
    """Add each row to the one it was taken from: a product with a small matrix."""
    node.require(axis=0)
    dtype = dtype_of(node.output)
    width = prod(side for side in shape_of(node.input(0))[1:] if isinstance(side, int))
    rows = write("Reshape", write.fp32(node.gradient, dtype), write.whole([-1, width]))
    total = write("MatMul", write.scatter_rows(node.input(1)), rows)
    return [write.like(write.cast(total, dtype), node.input(0))]


def reduce_mean(write: Writer, node: Node) -> Gradients:
    """Give every element an equal part."""
    node.require(keepdims=1)
    before, after = shape_of(node.input(0)), shape_of(node.output)
    repeats = [
        b if a == 1 and isinstance(b, int) else 1 for b, a in zip(before, after, strict=True)
    ]
    part = write.number(1 / prod(repeats), dtype_of(node.output))
    return [write("Expand", write("Mul", node.gradient, part), write.whole(repeats))]


def resize(write: Writer, node: Node) -> Gradients:
    """Sum the copies of each cell of ``[R, C, h, w]``."""
    node.require(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    before, after = shape_of(node.input(0))[2:], shape_of(node.output)[2:]
    factors = []
    for small, large in zip(before, after, strict=True):
        if not (isinstance(small, int) and isinstance(large, int)) or large % small:
            raise node.refused(f"{small} cells to {large}")
        factors.append(large // small)
    mean = write("AveragePool", node.gradient, kernel_shape=factors, strides=factors)
    return [write("Mul", mean, write.number(prod(factors), dtype_of(node.output)))]
