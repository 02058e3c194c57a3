"""What autograd writes into a graph, as operators that every runtime has.

Statistics and sums of normalisations are fp32, whatever the graph's precision. The gradients of
weights are never asked for, so they are not written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

aten = torch.ops.aten


def decompositions() -> Mapping[Any, Callable[..., Any]]:
    """Return PyTorch's own decompositions and those that it lacks."""
    return {
        **torch._decomp.core_aten_decompositions(),
        aten.convolution_backward.default: _convolution_backward,
        aten.upsample_nearest2d_backward.default: _upsample_backward,
        aten.native_layer_norm.default: _layer_norm,
        aten.native_layer_norm_backward.default: _layer_norm_backward,
        aten.native_group_norm.default: _group_norm,
        aten.native_group_norm_backward.default: _group_norm_backward,
        aten.index_add.default: _index_add,
    }


def _convolution_backward(  # noqa: PLR0917  (the operator's own signature)
    gradient: Tensor,
    value: Tensor,
    weight: Tensor,
    _bias_sizes: object,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    _transposed: bool,
    _output_padding: Sequence[int],
    groups: int,
    _mask: Sequence[bool],
) -> tuple[Tensor, None, None]:
    """Return the input's gradient; what a stride left over is padded."""
    missing = [
        value.shape[2 + i]
        - (gradient.shape[2 + i] - 1) * stride[i]
        + 2 * padding[i]
        - dilation[i] * (weight.shape[2 + i] - 1)
        - 1
        for i in range(2)
    ]
    back = F.conv_transpose2d(gradient, weight, None, stride, padding, missing, groups, dilation)
    return back, None, None


def _upsample_backward(
    gradient: Tensor, output_size: Sequence[int], input_size: Sequence[int], *_scales: object
) -> Tensor:
    """Sum the copies of each cell; the factors are whole."""
    factor = (output_size[0] // input_size[2], output_size[1] // input_size[3])
    return F.avg_pool2d(gradient, factor) * (factor[0] * factor[1])


def _layer_norm(
    value: Tensor, shape: Sequence[int], weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    axes = tuple(range(value.dim() - len(shape), value.dim()))
    normal, mean, scale = _normalise(value.float(), axes, eps)
    return (normal * weight + bias).to(value.dtype), mean, scale


def _layer_norm_backward(  # noqa: PLR0917  (the operator's own signature)
    gradient: Tensor,
    value: Tensor,
    shape: Sequence[int],
    mean: Tensor,
    scale: Tensor,
    weight: Tensor,
    _bias: Tensor,
    _mask: Sequence[bool],
) -> tuple[Tensor, None, None]:
    axes = tuple(range(value.dim() - len(shape), value.dim()))
    normal = (value.float() - mean) * scale
    back = _normalise_backward(gradient.float() * weight, normal, scale, axes)
    return back.to(value.dtype), None, None


def _group_norm(  # noqa: PLR0917  (the operator's own signature)
    value: Tensor,
    weight: Tensor,
    bias: Tensor,
    _rows: int,
    channels: int,
    _cells: int,
    groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    each = (1, channels, *[1] * (value.dim() - 2))
    normal, mean, scale = _normalise(_grouped(value, groups), (-1,), eps)
    out = normal.reshape(value.shape) * weight.reshape(each) + bias.reshape(each)
    return out.to(value.dtype), mean.squeeze(-1), scale.squeeze(-1)


def _group_norm_backward(  # noqa: PLR0917  (the operator's own signature)
    gradient: Tensor,
    value: Tensor,
    mean: Tensor,
    scale: Tensor,
    weight: Tensor,
    _rows: int,
    channels: int,
    _cells: int,
    groups: int,
    _mask: Sequence[bool],
) -> tuple[Tensor, None, None]:
    each = (1, channels, *[1] * (value.dim() - 2))
    normal = (_grouped(value, groups) - mean.unsqueeze(-1)) * scale.unsqueeze(-1)
    weighted = _grouped(gradient.float() * weight.reshape(each), groups)
    back = _normalise_backward(weighted, normal, scale.unsqueeze(-1), (-1,))
    return back.reshape(value.shape).to(value.dtype), None, None


def _grouped(value: Tensor, groups: int) -> Tensor:
    return value.float().reshape(value.shape[0], groups, -1)


def _normalise(value: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return what has mean 0 and variance 1 along `axes`, the mean, and one over the deviation."""
    mean = value.mean(axes, keepdim=True)
    centred = value - mean
    scale = torch.rsqrt(centred.square().mean(axes, keepdim=True) + eps)
    return centred * scale, mean, scale


def _normalise_backward(
    gradient: Tensor, normal: Tensor, scale: Tensor, axes: tuple[int, ...]
) -> Tensor:
    """Project the gradient off the mean and off the normalised value, which are fixed."""
    off_mean = gradient - gradient.mean(axes, keepdim=True)
    return scale * (off_mean - normal * (gradient * normal).mean(axes, keepdim=True))


def _index_add(
    total: Tensor, axis: int, index: Tensor, rows: Tensor, *, alpha: float = 1
) -> Tensor:
    """Add rows to the rows that they were taken from: a small matrix, for scattering is rare."""
    assert (axis, alpha) == (0, 1)  # noqa: S101  (only rows are gathered)
    places = torch.arange(total.shape[0], device=index.device).unsqueeze(1)
    chosen = (index.unsqueeze(0) == places).to(rows.dtype)
    return total + (chosen @ rows.flatten(1)).reshape(rows.shape)
