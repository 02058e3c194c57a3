"""Rules of operators that work element by element."""

from __future__ import annotations

import math

import onnx_ir as ir

from underpaint_engines.vjp.rule import Gradients, Node
from underpaint_engines.vjp.writer import Writer, dtype_of


def identity(write: Writer, node: Node) -> Gradients:
    """``y = x``."""
    del write
    return [node.gradient]


def cast(write: Writer, node: Node) -> Gradients:
    """``y = x`` in another precision."""
    return [write("Cast", node.gradient, to=dtype_of(node.input(0)))]


def add(write: Writer, node: Node) -> Gradients:
    """``y = a + b``."""
    return [write.unbroadcast(node.gradient, node.output, node.input(k)) for k in (0, 1)]


def mul(write: Writer, node: Node) -> Gradients:
    """``y = a b``."""

    def of(index: int) -> ir.Value:
        product = write("Mul", node.gradient, node.input(1 - index))
        return write.unbroadcast(product, node.output, node.input(index))

    return [of(k) if node.wants(k) else None for k in (0, 1)]


def where(write: Writer, node: Node) -> Gradients:
    """``y = a where c, else b``."""
    zero = write.number(0, dtype_of(node.output))
    condition, gradient = node.input(0), node.gradient
    first = write("Where", condition, gradient, zero)
    second = write("Where", condition, zero, gradient)
    return [
        None,
        write.unbroadcast(first, node.output, node.input(1)),
        write.unbroadcast(second, node.output, node.input(2)),
    ]


def sigmoid(write: Writer, node: Node) -> Gradients:
    """``y = 1 / (1 + exp(-x))``, so ``y' = y (1 - y)``."""
    one = write.number(1, dtype_of(node.output))
    slope = write("Mul", node.output, write("Sub", one, node.output))
    return [write("Mul", node.gradient, slope)]


def gelu(write: Writer, node: Node) -> Gradients:
    """``y = x F(x)``, so ``y' = F(x) + x f(x)``; f is the normal density, F its integral."""
    node.require(approximate="none")
    dtype = dtype_of(node.output)
    value = write.fp32(node.input(0), dtype)
    halves = write("Erf", write("Mul", value, write.number(math.sqrt(0.5))))
    integral = write("Mul", write("Add", halves, write.number(1)), write.number(0.5))
    square = write("Mul", write("Mul", value, value), write.number(-0.5))
    density = write("Mul", write("Exp", square), write.number(1 / math.sqrt(2 * math.pi)))
    slope = write("Add", integral, write("Mul", value, density))
    return [write("Mul", node.gradient, write.cast(slope, dtype))]


def softmax(write: Writer, node: Node) -> Gradients:
    """``y = softmax(x)`` along the last axis: ``gx = y (g - sum(g y))``."""
    node.require(axis=-1)
    return [softmax_gradient(write, node.output, node.gradient)]


def softmax_gradient(write: Writer, maps: ir.Value, gradient: ir.Value) -> ir.Value:
    """Return the gradient of a softmax's logits, along the last axis."""
    product = write("Mul", maps, gradient)
    total = write("ReduceSum", product, write.whole([-1]), keepdims=1)
    return write("Sub", product, write("Mul", maps, total))
