"""A placed object's own picture: the clean picture is drawn to the original's, moved along.

This is ours, not the paper's. Its energies read maps and means of activations, and coarse maps do
not show how large a small object is; what the original's clean picture shows at the same step is
known everywhere, the ground around the object too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from underpaint.errors import PluginError
from underpaint.guidance import Observation
from underpaint.records import MAIN

from underpaint_self_guidance.energies import Readings, Target, word_map
from underpaint_self_guidance.properties import centroid, shape

EDGE = 0.1
"""From which value of a soft mask a place belongs to an object."""


def picture_energy(
    seen: Observation, targets: Sequence[Target], readings: Readings, alpha: float
) -> Tensor:
    """Return how far the clean picture is from the original's with its objects placed, ``[I]``.

    ``E = alpha / (2 (1 - alpha)) sum_p (x0 - T(x0_original))^2`` over the objects' old and new
    places p: going down it with a weight w moves x0 the part w of the way, at every noise level.
    """
    if seen.maps is None:
        raise PluginError("Self-Guidance was asked for its energy at a step without readings.")
    layout = seen.maps.layout
    own = seen.x0[layout.trajectories_of(MAIN)]  # [I, C, h, w]
    wanted, where = own.detach(), own.new_zeros(len(own), 1, *own.shape[-2:])
    for place, placed in _places(seen, targets, readings):
        wanted = torch.where(place, placed, wanted)
        where = torch.maximum(where, place.to(where))
    return alpha / (1 - alpha) / 2 * (where * (own - wanted) ** 2).sum((1, 2, 3))


def grow(outlines: Tensor, size: Sequence[int]) -> Tensor:
    """Return where soft masks ``[I, h, w]`` have an object or border on it, ``[I, 1, *size]``."""
    where = (outlines > EDGE).float()[:, None]
    grown = F.max_pool2d(where, kernel_size=3, stride=1, padding=1)
    return F.interpolate(grown, tuple(size)) > 0  # nearest


def _places(
    seen: Observation, targets: Sequence[Target], readings: Readings
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield places and what each should show: the old ones first, for a new one to lie above."""
    assert seen.maps is not None  # noqa: S101  (its only caller has looked)
    old, new = [], []
    for target in targets:
        outline = shape(word_map(seen.maps, target.branch, target.their_tokens, readings)).detach()
        centre, placement = centroid(outline), target.placement
        source = seen.x0[seen.maps.layout.trajectories_of(target.branch)].detach()
        placed = placement.apply(source, centre)
        # What comes in from outside of the picture is left to the model.
        inside = placement.apply(torch.ones_like(source[:, :1]), centre) > 1 - EDGE
        size = source.shape[-2:]
        old.append((grow(outline, size) & inside, placed))
        moved = placement.apply(outline[:, None], centre)[:, 0]
        new.append((grow(moved, size) & inside, placed))
    yield from (*old, *new)
