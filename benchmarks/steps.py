"""The UNet calls that are timed: a plain step, one with readings, one of Prompt-to-Prompt."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from underpaint.engine import EditInputs, ModelInfo, UNetCall
from underpaint.records import Heads, Needs, Tap
from underpaint.sites import Site

ROWS = 4
SOURCE, TARGET = 2, 3
"""Rows: uncond source, uncond target, cond source, cond target."""

LARGEST_SELF_MAP = 32 * 32
"""Prompt-to-Prompt replaces self maps of this many tokens and fewer (arXiv 2208.01626)."""

WAYS = ("plain", "taps", "P2P")


def make_call(info: ModelInfo, way: str, rows: int = ROWS) -> UNetCall:
    """Return one step's call.

    ``plain`` neither edits nor reads; ``taps`` reads the words' maps (mean of the heads, at the
    level of 16x16 for Stable Diffusion); ``P2P`` swaps a word, reading the same maps, as a
    Prompt-to-Prompt run with heat maps or LocalBlend does.
    """
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    call = UNetCall(
        sample=draw(rows, info.latent_channels, *info.latent_size),
        timestep=torch.full((rows,), 500),
        context=draw(rows, info.context_length, info.context_width),
    )
    if way == "plain":
        return call
    maps: dict[str, Heads] = {site.name: "mean" for site in word_sites(info)}
    return replace(call, maps=maps, edits=swap(info, rows) if way == "P2P" else None)


def make_needs(info: ModelInfo, way: str) -> Needs:
    """Return what such a call needs of an engine."""
    selector = info.sites.words()
    taps = () if way == "plain" else (Tap(selector),)
    return Needs(taps=taps, edits=way == "P2P")


def word_sites(info: ModelInfo) -> tuple[Site, ...]:
    """Return the cross sites at the words' level."""
    return tuple(info.sites.select(info.sites.words()))


def swap(info: ModelInfo, rows: int) -> EditInputs:
    """Return a word swap's edits: all maps of the target's conditional row are the source's."""
    sites = info.sites.of_kind("self")
    edits = EditInputs.identity(rows, info.context_length, len(sites))
    edits.source_row[TARGET] = SOURCE
    edits.cross_map[TARGET] = torch.eye(info.context_length)
    edits.cross_scale[TARGET] = 0
    for index, site in enumerate(sites):
        tokens = (info.latent_size[0] >> site.level) * (info.latent_size[1] >> site.level)
        edits.self_q[index, TARGET] = edits.self_k[index, TARGET] = tokens <= LARGEST_SELF_MAP
    return edits
