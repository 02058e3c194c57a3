"""Rules of operators that multiply matrices: by the values, never by the weights."""

from __future__ import annotations

import onnx_ir as ir

from underpaint_engines.vjp.elementwise import softmax_gradient
from underpaint_engines.vjp.rule import Gradients, Node
from underpaint_engines.vjp.writer import Writer, dtype_of, shape_of

_END = -(2**31)
"""Before the first element: where a slice that runs backwards ends."""


def matmul(write: Writer, node: Node) -> Gradients:
    """``Y = A B``, so ``GA = G B^T`` and ``GB = A^T G``."""
    first, second = node.input(0), node.input(1)
    ranks = [len(shape_of(value)) for value in (first, second)]
    gradients: list[ir.Value | None] = [None, None]
    if node.wants(0):
        gradients[0] = write("MatMul", node.gradient, write.swap(second, ranks[1]))
    if node.wants(1):
        if ranks[1] < ranks[0]:
            raise node.refused("a weight that a gradient goes through")
        gradients[1] = write("MatMul", write.swap(first, ranks[0]), node.gradient)
    return gradients


def gemm(write: Writer, node: Node) -> Gradients:
    """``Y = A B + C`` or ``A B^T + C`` with weights B and C."""
    node.require(alpha=1.0, transA=0)
    if node.wanted != {0}:
        raise node.refused("weights that a gradient goes through")
    flag = node.forward.attributes.get("transB")
    transposed = flag.as_int() if flag is not None else 0
    return [write("Gemm", node.gradient, node.input(1), transB=1 - transposed)]


def conv(write: Writer, node: Node) -> Gradients:
    """Convolve with the mirrored weights, after putting zeros where a stride left out.

    Runtimes know ordinary convolutions best: a transposed one is slower on ONNX Runtime and, in
    this graph, wrong on OpenVINO 2026.4.
    """
    node.require(group=1, dilations=(1, 1), auto_pad="NOTSET")
    attributes = node.forward.attributes
    strides, pads = attributes["strides"].as_ints(), attributes["pads"].as_ints()
    weight, gradient = node.input(1), node.gradient
    sides = _numbers(node, node.input(0))
    kernel = _numbers(node, weight)
    if tuple(strides) != (1, 1):
        gradient = _spread(write, node, tuple(strides))
    spread = [side * stride for side, stride in zip(_numbers(node, node.output), strides, strict=True)]
    before = [kernel[k] - 1 - pads[k] for k in (0, 1)]
    after = [sides[k] + kernel[k] - 1 - spread[k] - before[k] for k in (0, 1)]
    if min(*before, *after) < 0:
        raise node.refused(f"pads={tuple(pads)} at {sides[0]}x{sides[1]}")
    mirrored = write("Transpose", weight, perm=[1, 0, 2, 3])
    if kernel != (1, 1):
        ends = [write.whole(each) for each in ([-1, -1], [_END, _END], [2, 3], [-1, -1])]
        mirrored = write("Slice", mirrored, *ends)
    return [write("Conv", gradient, mirrored, kernel_shape=kernel, pads=[*before, *after])]


def attention(write: Writer, node: Node) -> Gradients:
    """``Y = P V`` with ``P = softmax(s Q K^T + bias)``, which is made again, in fp32.

    So the way there stays fused, as in FlashAttention (arXiv 2205.14135, algorithm 4):
    ``GV = P^T G``, ``GS = s P (G V^T - sum(P G V^T))``, ``GQ = GS K``, ``GK = GS^T Q``.
    """
    node.require(softcap=0.0, is_causal=0)
    query, key, value = (node.input(k) for k in range(3))
    inputs, dtype = node.forward.inputs, dtype_of(query)
    if len(shape_of(query)) != 4 or node.wanted - {0, 1, 2}:
        raise node.refused("such inputs")
    scale = write.number(node.forward.attributes["scale"].as_float())
    raw = write.fp32(write("MatMul", query, write.swap(key, 4)), dtype)
    logits = write("Mul", raw, scale)
    bias = inputs[3] if len(inputs) > 3 else None
    if bias is not None:
        logits = write("Add", logits, write.fp32(bias, dtype))
    maps = write("Softmax", logits, axis=-1)
    of_maps = write.fp32(write("MatMul", node.gradient, write.swap(value, 4)), dtype)
    of_logits = write("Mul", softmax_gradient(write, maps, of_maps), scale)
    of_logits, maps = write.cast(of_logits, dtype), write.cast(maps, dtype)
    return [
        write("MatMul", of_logits, key),
        write("MatMul", write.swap(of_logits, 4), query),
        write("MatMul", write.swap(maps, 4), node.gradient),
    ]


def _spread(write: Writer, node: Node, strides: tuple[int, ...]) -> ir.Value:
    """Put ``stride - 1`` zeros after every cell of the gradient, along both sides."""
    channels, *sides = shape_of(node.output)[1:]
    cells = write("Reshape", node.gradient, write.whole([-1, int(channels), int(sides[0]), 1, int(sides[1]), 1]))
    ends = [0, 0, 0, strides[0] - 1, 0, strides[1] - 1]
    padded = write("Pad", cells, write.whole([0] * 6 + ends))
    whole = [int(side) * stride for side, stride in zip(sides, strides, strict=True)]
    return write("Reshape", padded, write.whole([-1, int(channels), *whole]))


def _numbers(node: Node, value: ir.Value) -> tuple[int, int]:
    """Return height and width of ``[*, *, h, w]``."""
    height, width = shape_of(value)[2:]
    if not (isinstance(height, int) and isinstance(width, int)):
        raise node.refused("open sides")
    return height, width
