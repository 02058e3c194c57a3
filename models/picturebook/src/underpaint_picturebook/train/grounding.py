"""The token-grounding loss of TokenCompose (arXiv 2312.03626, equation 4).

The cross-attention of a word should lie on the pixels that show it. For a token with map A over
the positions u, and the object's mask M: ``(1 - sum_{u in M} A_u / sum_u A_u)^2``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Words:
    """Which tokens of a batch name something, and where it is.

    `tokens` [B, K] are positions in the caption, -1 where there is none; `masks` [B, K, 16, 16]
    are the shares, 0 to 1, of each cell that the object covers.
    """

    tokens: Tensor
    masks: Tensor


class MapRecorder:
    """A cross-attention processor that keeps the head mean of its maps, [B, H*W, 77]."""

    def __init__(self) -> None:
        self.map: Tensor | None = None

    def taken(self) -> Tensor:
        """Return the map of the last evaluation.

        Raises
        ------
        RuntimeError
            If the layer has not run.
        """
        if self.map is None:
            raise RuntimeError("a cross-attention layer has not run: call the UNet first")
        return self.map

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """Attend as diffusers' default processor does, by way of the explicit map."""
        del attention_mask, temb
        rows, places, _ = hidden_states.shape

        def heads(x: Tensor) -> Tensor:
            return x.view(rows, -1, attn.heads, x.shape[-1] // attn.heads).transpose(1, 2)

        query = heads(attn.to_q(hidden_states))
        key = heads(attn.to_k(encoder_hidden_states))
        value = heads(attn.to_v(encoder_hidden_states))
        logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        weights = logits.float().softmax(dim=-1)
        self.map = weights.mean(dim=1)
        mixed = (weights.to(value.dtype) @ value).transpose(1, 2).reshape(rows, places, -1)
        out: Tensor = attn.to_out[1](attn.to_out[0](mixed))
        return out


def record(unet: UNet2DConditionModel) -> list[MapRecorder]:
    """Install a recorder on every cross-attention layer; self-attention stays as it is."""
    recorders = {name: MapRecorder() for name in unet.attn_processors if ".attn2." in name}
    unet.set_attn_processor({**unet.attn_processors, **recorders})
    return list(recorders.values())


def _cover(masks: Tensor, side: int) -> Tensor:
    """Pool masks to `side`; a cell that is half covered counts as covered."""
    return (2 * F.adaptive_avg_pool2d(masks, side)).clamp(max=1.0)


def loss(maps: Sequence[Tensor], words: Words, weight: Tensor) -> Tensor:
    """Return the mean over words and layers; `weight` [B] scales each picture's share.

    `maps` [B, H*W, 77], one a layer.
    """
    known = (words.tokens >= 0).float() * weight[:, None]
    picks = words.tokens.clamp(min=0)
    total = weight.new_zeros(())
    for layer in maps:
        side = math.isqrt(layer.shape[1])
        index = picks[:, None].expand(-1, side * side, -1)
        own = layer.gather(2, index).transpose(1, 2)  # [B, K, side * side]
        cover = _cover(words.masks, side).flatten(2)
        inside = (own * cover).sum(-1) / own.sum(-1).clamp(min=1e-8)
        total = total + ((1 - inside).square() * known).sum() / known.sum().clamp(min=1.0)
    return total / len(maps)
