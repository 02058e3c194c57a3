"""Attention that can be edited and read, without ever un-fusing the main path.

Every edit ``A' = A_source P + A diag(d)`` is linear in the attention probabilities, so with fused
attention F it is ``F(Q_s, K_s, P V) + F(Q, K, diag(d) V)``; the maps themselves never exist. Maps
that are read are computed beside it, from the same queries and keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor
from underpaint.engine import EditInputs
from underpaint.records import Heads

from underpaint_engines.sites import attention_modules


@dataclass(frozen=True, eq=False)
class AttentionControl:
    """What one call wants of the attention, passed as ``cross_attention_kwargs["control"]``.

    Attributes
    ----------
    edits : tensors of the UNet's dtype and device; None runs plain attention.
    taps : site name -> "mean" or "all" heads, to be read.
    maps : filled in while the UNet runs: site name -> ``[R, H or 1, N, L]`` fp32.
    """

    edits: EditInputs | None = None
    taps: Mapping[str, Heads] = field(default_factory=dict)
    maps: dict[str, Tensor] = field(default_factory=dict)


class _Inputs(NamedTuple):
    """Queries ``[R, N, H*D]``, keys and values ``[R, L, H*D]``, a bias ``[R, 1, 1 or N, L]``."""

    query: Tensor
    key: Tensor
    value: Tensor
    bias: Tensor | None


class EditableAttention:
    """The attention processor of one site. It holds constants only, so any thread may run it.

    Parameters
    ----------
    name : the site's name.
    self_index : the site's line in `EditInputs.self_q` and its like; None for cross attention.
    """

    def __init__(self, name: str, self_index: int | None) -> None:
        self.name = name
        self.self_index = self_index

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        control: AttentionControl | None = None,
    ) -> Tensor:
        """Attend. The names of the arguments are those by which diffusers passes them."""
        control = control or AttentionControl()
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        inputs = _Inputs(
            query=attn.to_q(hidden_states),
            key=attn.to_k(context),
            value=attn.to_v(context),
            bias=self._bias(control.edits, attention_mask),
        )
        if self.name in control.taps:
            maps = _probabilities(attn, inputs, control.taps[self.name])
            control.maps[self.name] = maps
        if control.edits is None:
            mixed = _attend(attn, inputs)
        elif self.self_index is None:
            mixed = _edited_cross(attn, inputs, control.edits)
        else:
            mixed = _attend(attn, _edited_self(inputs, control.edits, self.self_index))
        out: Tensor = attn.to_out[0](mixed)
        return out

    def _bias(self, edits: EditInputs | None, mask: Tensor | None) -> Tensor | None:
        """Join the padding mask ``[R, 1, L]`` and the site's bias ``[R, N, L]``."""
        own = edits.cross_bias.get(self.name) if edits is not None else None
        given = [part.unsqueeze(1) for part in (mask, own) if part is not None]
        return sum(given[1:], given[0]) if given else None


def install(unet: UNet2DConditionModel) -> None:
    """Put an `EditableAttention` on every attention module, once and for all calls.

    Raises
    ------
    ModelLoadError
        If the UNet holds attention of another kind.
    """
    self_sites = 0
    for name, module in attention_modules(unet):
        module.set_processor(
            EditableAttention(name, None if module.is_cross_attention else self_sites)
        )
        self_sites += not module.is_cross_attention


def _edited_cross(attn: Attention, inputs: _Inputs, edits: EditInputs) -> Tensor:
    rows, bias = edits.source_row, inputs.bias
    from_source = _Inputs(
        query=inputs.query.index_select(0, rows),
        key=inputs.key.index_select(0, rows),
        value=edits.cross_map @ inputs.value,  # P V
        bias=None if bias is None else bias.index_select(0, rows),
    )
    kept = inputs._replace(value=edits.cross_scale.unsqueeze(-1) * inputs.value)  # diag(d) V
    return _attend(attn, from_source) + _attend(attn, kept)


def _edited_self(inputs: _Inputs, edits: EditInputs, index: int) -> _Inputs:
    def choose(own: Tensor, gates: Tensor) -> Tensor:
        taken = own.index_select(0, edits.source_row)
        return torch.where(gates[index].view(-1, 1, 1), taken, own)

    return inputs._replace(
        query=choose(inputs.query, edits.self_q),
        key=choose(inputs.key, edits.self_k),
        value=choose(inputs.value, edits.self_v),
    )


def _attend(attn: Attention, inputs: _Inputs) -> Tensor:
    """Run fused attention: ``[R, N, H*D]``.

    The fused kernels keep their logits in fp32, which is all that `upcast_attention` asks for.
    """
    query, key, value = (_split(attn, part) for part in inputs[:3])
    mixed = F.scaled_dot_product_attention(query, key, value, inputs.bias, scale=attn.scale)
    return mixed.transpose(1, 2).flatten(2)


def _probabilities(attn: Attention, inputs: _Inputs, heads: Heads) -> Tensor:
    """Return ``softmax(Q K^T * scale + bias)`` in fp32: ``[R, H or 1, N, L]``."""
    query, key = _split(attn, inputs.query).float(), _split(attn, inputs.key).float()
    logits: Tensor = query @ key.transpose(-1, -2) * attn.scale
    if inputs.bias is not None:
        logits = logits + inputs.bias.float()
    maps = logits.softmax(-1)
    return maps.mean(1, keepdim=True) if heads == "mean" else maps


def _split(attn: Attention, value: Tensor) -> Tensor:
    """Part the heads: ``[R, N, H*D]`` to ``[R, H, N, D]``."""
    rows, tokens, _ = value.shape
    return value.view(rows, tokens, attn.heads, -1).transpose(1, 2)
