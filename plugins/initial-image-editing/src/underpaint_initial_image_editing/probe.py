"""What noise tends to become: the attention to words, asked of the UNet before a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from underpaint.maps import AttentionMaps
from underpaint.records import MAIN, Tap, Window
from underpaint.run import Run
from underpaint.sites import Site, SiteSelector
from underpaint.step import Step


def announce(site: Site) -> Tap:
    """Return the reading for `needs`; its empty window keeps it out of the ordinary steps."""
    return Tap(_selector(site), during=Window(0.0, 0.0))


def read_words(
    run: Run, index: int, latents: Tensor, site: Site, words: Sequence[Sequence[tuple[int, ...]]]
) -> Tensor:
    """Return the attention of one site to each word of the main branch, ``[I, K, N]`` on the CPU.

    One evaluation of the cond rows at step `index`, without other plugins' edits. Maps are head
    means; those of a word's tokens are added up.

    Parameters
    ----------
    latents : ``[T, C, h, w]``, of that step's level.
    words : the tokens of each word, by image: I lists of K.
    """
    step = Step(run, index, run.moves[index], latents)
    outputs = step.evaluate(branches=(MAIN,), halves=("cond",), taps=(Tap(_selector(site)),))
    maps = cast("AttentionMaps", outputs.maps).words(MAIN).flatten(2).cpu()  # [I, L, N]
    return torch.stack(
        [
            torch.stack([tokens[list(found)].sum(0) for found in each])
            for tokens, each in zip(maps, words, strict=True)
        ]
    )


def _selector(site: Site) -> SiteSelector:
    return SiteSelector("cross", names=frozenset({site.name}))
