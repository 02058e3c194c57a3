"""An object's own clean picture is drawn to another one: moved along, or another picture's.

This is ours, not the paper's. Its energies read maps and means of activations, and coarse maps do
not show how large a small object is, nor a mean which colour it has. What a branch's clean picture
shows at the same step is known everywhere, the ground around an object too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from underpaint.guidance import Observation
from underpaint.maps import AttentionMaps
from underpaint.records import MAIN

from underpaint_self_guidance.energies import Readings, Target, maps_of, word_map
from underpaint_self_guidance.properties import appearance, centroid, shape

EDGE = 0.1
"""From which value of a soft mask a place belongs to an object."""

Kind = Literal["placed", "taken", "tinted"]


@dataclass(frozen=True, eq=False)
class Pictured:
    """An object whose clean picture is drawn somewhere.

    Attributes
    ----------
    kind : to the original's, placed; to another picture's, taken as it is; or to that one's mean.
    target : the object, and where it is seen.
    """

    kind: Kind
    target: Target


@dataclass(frozen=True, eq=False)
class Seen:
    """The maps and clean pictures of a step.

    Attributes
    ----------
    maps, readings : what objects' outlines are read from.
    x0 : ``[T, C, h, w]``, what the model takes for clean.
    """

    maps: AttentionMaps
    readings: Readings
    x0: Tensor

    def picture(self, branch: str) -> Tensor:
        """Return a branch's clean picture, ``[I, C, h, w]``."""
        return self.x0[self.maps.layout.trajectories_of(branch)]

    def outline(self, branch: str, tokens: Tensor) -> Tensor:
        """Return an object's soft mask, ``[I, h', w']``."""
        return shape(word_map(self.maps, branch, tokens, self.readings))


def picture_energy(
    seen: Observation, pictured: Sequence[Pictured], readings: Readings, alpha: float
) -> Tensor:
    """Return how far the clean picture is from what its objects should look like, ``[I]``.

    ``E = alpha / (2 (1 - alpha)) sum_p (x0 - wanted)^2`` over the places p where something is
    wanted: going down it with a weight w moves x0 the part w of the way, at every noise level.
    """
    step = Seen(maps_of(seen), readings, seen.x0)
    own = step.picture(MAIN)
    with torch.no_grad():
        wanted, where = own, own.new_zeros(len(own), 1, *own.shape[-2:])
        for place, picture in places(step, pictured):
            wanted = torch.where(place, picture, wanted)
            where = torch.maximum(where, place.to(where))
    return alpha / (1 - alpha) / 2 * (where * (own - wanted) ** 2).sum((1, 2, 3))


def places(step: Seen, pictured: Sequence[Pictured]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield places ``[I, 1, h, w]`` and what they should show, ``[I, C, h, w]``.

    A later one lies above an earlier one: no object under the place that another leaves.
    """
    placed = [_placed(step, each.target) for each in pictured if each.kind == "placed"]
    yield from (old for old, _ in placed)
    yield from (new for _, new in placed)
    yield from (_taken(step, each.target) for each in pictured if each.kind == "taken")
    yield from (_tinted(step, each.target) for each in pictured if each.kind == "tinted")


def _placed(step: Seen, target: Target) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Return an object's old and its new place: both show the original's picture, placed.

    So what was beside the object comes to where it was.
    """
    outline = step.outline(target.branch, target.their_tokens)
    centre, placement = centroid(outline), target.placement
    source = step.picture(target.branch)
    picture = placement.apply(source, centre, "border")
    # Of an object at the border more may come in: that is left to the model.
    inside = placement.apply(torch.ones_like(source[:, :1]), centre) > 1 - EDGE
    moved = placement.apply(outline[:, None], centre)[:, 0]
    old, new = (grow(each, source.shape[-2:]) for each in (outline, moved))
    return (old, picture), (new & inside, picture)


def _taken(step: Seen, target: Target) -> tuple[Tensor, Tensor]:
    """Return the place of an object in another picture, and that picture."""
    outline = step.outline(target.branch, target.their_tokens)
    picture = step.picture(target.branch)
    return _fit(outline, picture) > EDGE, picture


def _tinted(step: Seen, target: Target) -> tuple[Tensor, Tensor]:
    """Return an object's place, and its picture with the other's mean there (as in eq. 6)."""
    own, theirs = step.picture(MAIN), step.picture(target.branch)
    mine = _fit(step.outline(MAIN, target.tokens), own)
    other = _fit(step.outline(target.branch, target.their_tokens), theirs)
    change = appearance(theirs, other) - appearance(own, mine)  # [I, 1, C]
    return mine > 0.5, own + change[:, 0, :, None, None]


def grow(outlines: Tensor, size: Sequence[int]) -> Tensor:
    """Return where soft masks ``[I, h, w]`` have an object or border on it, ``[I, 1, *size]``."""
    where = (outlines > EDGE).float()[:, None]
    grown = F.max_pool2d(where, kernel_size=3, stride=1, padding=1)
    return F.interpolate(grown, tuple(size)) > 0  # nearest


def _fit(outlines: Tensor, picture: Tensor) -> Tensor:
    return F.interpolate(outlines[:, None], picture.shape[-2:], mode="bilinear")
