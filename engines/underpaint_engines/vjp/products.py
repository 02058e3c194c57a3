"""Rules of operators that multiply matrices: by the values, never by the weights."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from underpaint_engines.vjp.elementwise import softmax_gradient
from underpaint_engines.vjp.rule import Gradients, Node
from underpaint_engines.vjp.writer import Writer, dtype_of, shape_of

_END = -(2**31)
"""Before the first element: where a slice that runs backwards ends."""


def matmul(write: Writer, node: Node) -> Gradients:
    """``Y = A B``, so ``GA = G B^T`` and ``GB^T = G^T A``."""
    first, second = node.input(0), node.input(1)
    batches = [shape_of(value)[:-2] for value in (first, second)]
    ranks = [2 + len(batch) for batch in batches]
    if batches[1] not in {(), batches[0]} or (not batches[1] and batches[0] and node.wants(1)):
        raise node.refused("matrices that are broadcast")
    gradients: list[ir.Value | None] = [None, None]
    if node.wants(0):
        gradients[0] = write("MatMul", node.gradient, write.swap(second, ranks[1]))
    if node.wants(1):
        # (G^T A)^T: where B is itself a transpose, the two cancel.
        product = write("MatMul", write.swap(node.gradient, ranks[1]), first)
        gradients[1] = write.swap(product, ranks[1])
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

    Runtimes know ordinary convolutions best; a transposed one is slower on ONNX Runtime.
    """
    node.require(group=1, dilations=(1, 1), auto_pad="NOTSET")
    strides = node.forward.attributes["strides"].as_ints()
    pads = node.forward.attributes["pads"].as_ints()
    sides, after = _numbers(node, node.input(0)), _numbers(node, node.output)
    kernel = _numbers(node, node.input(1))
    first = [kernel[k] - 1 - pads[k] for k in (0, 1)]
    last = [sides[k] + kernel[k] - 1 - after[k] * strides[k] - first[k] for k in (0, 1)]
    if min(*first, *last) < 0:
        raise node.refused(f"pads={tuple(pads)} at {sides[0]}x{sides[1]}")
    gradient = node.gradient
    if tuple(strides) != (1, 1):
        gradient = _spread(write, node, strides)
    mirrored = _mirrored(write, node.input(1), kernel)
    return [write("Conv", gradient, mirrored, kernel_shape=kernel, pads=[*first, *last])]


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


def _mirrored(write: Writer, weight: ir.Value, kernel: tuple[int, int]) -> ir.Value:
    """Turn weights ``[O, C, h, w]`` to ``[C, O, h, w]``, read backwards along both sides."""
    swapped = write("Transpose", weight, perm=[1, 0, 2, 3])
    if kernel == (1, 1):
        return swapped
    ends = [write.whole(each) for each in ([-1, -1], [_END, _END], [2, 3], [-1, -1])]
    return write("Slice", swapped, *ends)


def _spread(write: Writer, node: Node, strides: Sequence[int]) -> ir.Value:
    """Put ``stride - 1`` zeros after every cell of the gradient ``[R, C, h, w]``."""
    channels, (height, width) = int(shape_of(node.output)[1]), _numbers(node, node.output)
    cells = write.whole([-1, channels, height, 1, width, 1])
    zeros = write.whole([0] * 9 + [strides[0] - 1, 0, strides[1] - 1])
    padded = write("Pad", write("Reshape", node.gradient, cells), zeros)
    wide = write.whole([-1, channels, height * strides[0], width * strides[1]])
    return write("Reshape", padded, wide)


def _numbers(node: Node, value: ir.Value) -> tuple[int, int]:
    """Return height and width of ``[*, *, h, w]``."""
    height, width = shape_of(value)[2:]
    if not (isinstance(height, int) and isinstance(width, int)):
        raise node.refused("open sides")
    return height, width
