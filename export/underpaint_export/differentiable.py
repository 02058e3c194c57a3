"""Two functions of the UNet, in a form that autograd can be traced through.

Attention stays fused and its gradient is written out: the maps are made again, never kept.
``P = softmax(s Q K^T + bias)`` is computed anew on the way back, in fp32, as in FlashAttention
(arXiv 2205.14135, algorithm 4): a map of every site would otherwise live until its gradient.

Upsampling asks for its sizes as plain numbers, which would fix the number of rows; it is told them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


class Differentiable(TorchFunctionMode):
    """While active, `F.scaled_dot_product_attention` and `F.interpolate` are of that form."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run `func`, or what stands in its place."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            query, key, value, bias = args
            attend = cast("Callable[..., Tensor]", _Attention.apply)
            return attend(query, key, value, bias, kwargs["scale"])
        if func is F.interpolate:
            return _upsample(*args, **kwargs)
        return func(*args, **kwargs)


def _upsample(
    value: Tensor,
    size: Sequence[int] | None = None,
    scale_factor: float | None = None,
    mode: str = "nearest",
    **_options: object,
) -> Tensor:
    """Repeat each cell of ``[R, C, h, w]``."""
    assert mode == "nearest"  # noqa: S101  (diffusers' UNets know no other)
    if size is None:
        assert scale_factor is not None  # noqa: S101  (one of the two is given)
        size = [int(side * scale_factor) for side in value.shape[2:]]
    out: Tensor = torch.ops.aten.upsample_nearest2d.default(value, list(size))
    return out


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917  (autograd passes by position)
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float
    ) -> Tensor:
        ctx.save_for_backward(query, key, value, bias)
        ctx.scale = scale
        out: Tensor = torch.onnx.ops.attention(query, key, value, attn_mask=bias, scale=scale)[0]
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, bias = ctx.saved_tensors
        logits = (query @ key.transpose(-1, -2)).float() * ctx.scale
        if bias is not None:
            logits = logits + bias.float()
        maps = logits.softmax(-1)
        of_maps = (gradient @ value.transpose(-1, -2)).float()
        of_logits = maps * (of_maps - (maps * of_maps).sum(-1, keepdim=True)) * ctx.scale
        of_logits = of_logits.to(gradient.dtype)
        return (
            of_logits @ key,
            of_logits.transpose(-1, -2) @ query,
            maps.to(gradient.dtype).transpose(-1, -2) @ gradient,
            None,
            None,
        )
