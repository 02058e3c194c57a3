"""Where a diffusers UNet can be read and written, derived from its modules."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import nn
from underpaint.errors import ModelLoadError
from underpaint.sites import Kind, Place, Site, Sites

USUAL_WORD_LEVEL = 2
"""The quarter of the latent's side: the 16x16 maps that Prompt-to-Prompt reads at 512 pixels."""


def derive_sites(unet: UNet2DConditionModel, word_level: int | None = None) -> Sites:
    """List the attention and activation sites of a UNet in call order.

    Parameters
    ----------
    unet : the model.
    word_level : the level whose cross maps follow the words best; None takes level 2 if the down
        or up blocks have cross attention there, and their deepest level with any otherwise.

    Raises
    ------
    ModelLoadError
        If the UNet has no mid block, attention of an unknown kind, or no words at `word_level`.
    """
    sites = tuple(_sites(unet))
    levels = {site.level for site in sites if site.kind == "cross" and site.place != "mid"}
    if not levels:
        raise ModelLoadError("The UNet's down and up blocks have no cross attention to edit.")
    if word_level is None:
        word_level = USUAL_WORD_LEVEL if USUAL_WORD_LEVEL in levels else max(levels)
    if word_level not in levels:
        raise ModelLoadError(
            f"underpaint.json: word_level={word_level}, but the UNet's down and up blocks have "
            f"cross attention at levels {sorted(levels)}. Choose one of these."
        )
    return Sites(sites, word_level)


def attention_modules(unet: UNet2DConditionModel) -> Iterator[tuple[str, Attention]]:
    """Yield each attention module with its name, in call order.

    Raises
    ------
    ModelLoadError
        If a module is not the plain self or cross attention of a transformer block.
    """
    for name, block in _blocks(unet):
        for _, attention in _in_call_order(name, block):
            if attention is not None:
                yield from _attentions(*attention)


def activation_modules(unet: UNet2DConditionModel) -> Iterator[tuple[str, nn.Module]]:
    """Yield each module that is an activation site with its name, in call order."""
    for name, block in _blocks(unet):
        for resnet, _ in _in_call_order(name, block):
            if resnet is not None:
                yield resnet
        yield name, block


def _blocks(unet: UNet2DConditionModel) -> Iterator[Named]:
    if unet.mid_block is None:
        raise ModelLoadError("The UNet has no mid block; Stable Diffusion 1.x and 2.x have one.")
    for index, block in enumerate(unet.down_blocks):
        yield f"down_blocks.{index}", block
    yield "mid_block", unet.mid_block
    for index, block in enumerate(unet.up_blocks):
        yield f"up_blocks.{index}", block


Named = tuple[str, Any]


def _in_call_order(name: str, block: Any) -> Iterator[tuple[Named | None, Named | None]]:
    """Pair the resnets of a block with the transformers that follow them."""
    resnets = [(f"{name}.resnets.{i}", module) for i, module in enumerate(block.resnets)]
    transformers = getattr(block, "attentions", ())
    attentions = [(f"{name}.attentions.{i}", module) for i, module in enumerate(transformers)]
    yield from zip_longest(resnets, attentions)


def _attentions(name: str, transformer: nn.Module) -> Iterator[tuple[str, Attention]]:
    for inner, module in transformer.named_modules(prefix=name):
        if isinstance(module, Attention):
            if not inner.endswith((".attn1", ".attn2")) or not _is_plain(module):
                raise ModelLoadError(
                    f"{inner} is attention of a kind that cannot be edited. Use a Stable "
                    "Diffusion 1.x or 2.x checkpoint without adapters built in."
                )
            yield inner, module


def _is_plain(attention: Attention) -> bool:
    """Tell whether the module is softmax(Q K^T) V with an output projection, and nothing more."""
    extras = ("group_norm", "spatial_norm", "norm_cross", "norm_q", "norm_k", "add_k_proj")
    return (
        all(getattr(attention, extra, None) is None for extra in extras)
        and not attention.residual_connection
        and attention.rescale_output_factor == 1
    )


def _sites(unet: UNet2DConditionModel) -> Iterator[Site]:
    level = 0
    for name, block in _blocks(unet):
        place: Place = "mid" if name == "mid_block" else "down" if name[0] == "d" else "up"
        for resnet, transformer in _in_call_order(name, block):
            if resnet is not None:
                yield Site(resnet[0], "activation", place, level, 0, resnet[1].out_channels)
            for inner, attention in _attentions(*transformer) if transformer else ():
                kind: Kind = "cross" if attention.is_cross_attention else "self"
                yield Site(inner, kind, place, level, attention.heads, attention.out_dim)
        # A block changes the resolution at its end, after everything in it has run.
        level += getattr(block, "downsamplers", None) is not None
        level -= getattr(block, "upsamplers", None) is not None
        yield Site(name, "activation", place, level, 0, block.resnets[-1].out_channels)
