"""The rest of the picture is the original's: latents blended outside of what changes.

This is ours, not the paper's; it is what LocalBlend does for Prompt-to-Prompt (arXiv 2208.01626).
The energies say where an object was and where it goes, so both outlines are known at each step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from underpaint.layout import Layout
from underpaint.maps import AttentionMaps
from underpaint.records import MAIN

from underpaint_self_guidance.energies import Readings, Target, word_map
from underpaint_self_guidance.picture import grow
from underpaint_self_guidance.properties import shape
from underpaint_self_guidance.sources import ORIGINAL


class Background:
    """Where the picture may change, from the maps of all steps so far.

    Attributes
    ----------
    targets : the objects that change.
    mask : ``[I, 1, h, w]``, where the latents may differ; None before the first maps.
    """

    def __init__(self, targets: Sequence[Target], readings: Readings) -> None:
        self.targets = targets
        self.readings = readings
        self.mask: Tensor | None = None
        self._sums: Tensor | None = None

    def add(self, maps: AttentionMaps) -> None:
        """Add one step's maps, and find the outlines in the sums."""
        new = torch.stack([each for target in self.targets for each in self._pair(maps, target)])
        self._sums = new if self._sums is None else self._sums + new
        pairs = zip(self._sums[::2], self._sums[1::2], self.targets, strict=True)
        places = [
            outline
            for old, wanted, target in pairs
            for outline in (shape(old), target.placement.outline(wanted))
        ]
        self.mask = grow(torch.stack(places).amax(0), maps.latent_size)

    def keep(self, latents: Tensor, layout: Layout) -> Tensor:
        """Return latents ``[T, C, h, w]`` whose main branch is the original's outside."""
        if self.mask is None:
            return latents
        main, original = layout.trajectories_of(MAIN), layout.trajectories_of(ORIGINAL)
        kept = latents.clone()
        kept[main] = torch.where(self.mask, latents[main], latents[original])
        return kept

    def _pair(self, maps: AttentionMaps, target: Target) -> tuple[Tensor, Tensor]:
        """Return an object's map and that of what it is to be like, ``[I, h, w]``.

        Where it is placed, its map is the original's: its own already moves.
        """
        theirs = word_map(maps, target.branch, target.their_tokens, self.readings)
        if target.branch == ORIGINAL:
            return theirs, theirs
        return word_map(maps, MAIN, target.tokens, self.readings), theirs
