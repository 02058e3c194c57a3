"""The rest of the picture is the original's: latents blended outside of what changes.

This is ours, not the paper's; it is what LocalBlend does for Prompt-to-Prompt (arXiv 2208.01626).
The energies say where an object was and where it goes, so both outlines are known at each step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from underpaint.layout import Layout
from underpaint.maps import AttentionMaps
from underpaint.records import MAIN

from underpaint_self_guidance.energies import Readings, Target, word_maps
from underpaint_self_guidance.placement import Placement
from underpaint_self_guidance.properties import centroid, shape
from underpaint_self_guidance.sources import ORIGINAL

EDGE = 0.25
"""From which value of a soft mask a place belongs to an object."""


class Background:
    """Where the picture may change, from the maps of all steps so far.

    Attributes
    ----------
    targets : the objects that change.
    mask : ``[I, 1, h, w]``, 1 where the latents may differ; None before the first maps.
    """

    def __init__(self, targets: Sequence[Target], readings: Readings) -> None:
        self.targets = targets
        self.readings = readings
        self.mask: Tensor | None = None
        self._sums: list[tuple[Tensor, Tensor]] = []

    def add(self, maps: AttentionMaps) -> None:
        """Add one step's maps, and find the outlines in the sums."""
        new = [self._maps(maps, target) for target in self.targets]
        if self._sums:
            new = [(a + c, b + d) for (a, b), (c, d) in zip(self._sums, new, strict=True)]
        self._sums = new
        places = [
            outline
            for (old, theirs), target in zip(new, self.targets, strict=True)
            for outline in (_outline(old), _outline(theirs, target.placement))
        ]
        where = torch.stack(places).amax(0)[:, None] > EDGE
        grown = F.max_pool2d(where.float(), kernel_size=3, stride=1, padding=1)
        self.mask = F.interpolate(grown, maps.latent_size)  # nearest

    def keep(self, latents: Tensor, layout: Layout) -> Tensor:
        """Return latents ``[T, C, h, w]`` whose main branch is the original's outside."""
        if self.mask is None:
            return latents
        main, original = layout.trajectories_of(MAIN), layout.trajectories_of(ORIGINAL)
        kept = latents.clone()
        kept[main] = torch.lerp(latents[original], latents[main], self.mask.to(latents))
        return kept

    def _maps(self, maps: AttentionMaps, target: Target) -> tuple[Tensor, Tensor]:
        """Return the object's map in the original and what it is to be like, ``[I, h, w]``."""
        theirs = _mean(maps, target.branch, target.their_tokens, self.readings)
        if target.branch == ORIGINAL:
            return theirs, theirs
        return _mean(maps, MAIN, target.tokens, self.readings), theirs


def _outline(maps: Tensor, placement: Placement | None = None) -> Tensor:
    outline = shape(maps)
    return outline if placement is None else placement.apply(outline, centroid(outline))


def _mean(maps: AttentionMaps, branch: str, tokens: Tensor, readings: Readings) -> Tensor:
    """Return a word's map of all sites, each on the finest one's grid."""
    found = list(word_maps(maps, branch, tokens, readings).values())
    size = max((tuple(each.shape[-2:]) for each in found))
    grown = [F.interpolate(each[:, None], size, mode="bilinear")[:, 0] for each in found]
    return torch.stack(grown).mean(0)
