"""Weighted distances of properties from their targets (arXiv 2306.00986, sections 3.2 and 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor
from underpaint.errors import PluginError
from underpaint.guidance import Observation
from underpaint.maps import AttentionMaps
from underpaint.records import MAIN
from underpaint.sites import SiteSelector

from underpaint_self_guidance.placement import Placement
from underpaint_self_guidance.properties import appearance, centroid, shape, size

ROUND = 1e-3
"""Where the distance is rounded off; properties are of the order of 1."""


@dataclass(frozen=True)
class Weights:
    """Of the properties; 0 leaves one out."""

    centroid: float = 0.0
    size: float = 0.0
    shape: float = 0.0
    appearance: float = 0.0


@dataclass(frozen=True, eq=False)
class Target:
    """One object, and what it is to be like.

    Attributes
    ----------
    tokens : ``[I, L]``, the average of its tokens in the call's prompt.
    branch : where the object that it is to be like is seen.
    their_tokens : ``[I, L]``, the average of that one's tokens there.
    weights : of its properties.
    placement : how that one is moved first.
    overshoot : power of the placement's factor that is asked of the maps.
    """

    tokens: Tensor
    branch: str
    their_tokens: Tensor
    weights: Weights
    placement: Placement = field(default_factory=Placement)
    overshoot: float = 1.0

    @property
    def asked(self) -> Placement:
        """The placement that is asked of the maps."""
        return replace(self.placement, factor=self.placement.factor**self.overshoot)


@dataclass(frozen=True)
class Readings:
    """What the energies look at.

    Attributes
    ----------
    maps : cross attention of these sites, averaged over heads.
    features : the name of the activation whose means are an object's look.
    """

    maps: SiteSelector
    features: str


def energy(seen: Observation, targets: Sequence[Target], readings: Readings) -> Tensor:
    """Return the sum of all targets' energies, ``[I]``.

    Only the main branch's conditional row has a gradient; what it is compared with has none.
    """
    total = [target_energy(seen, target, readings) for target in targets]
    return torch.stack(total).sum(0)


def target_energy(seen: Observation, target: Target, readings: Readings) -> Tensor:
    """Return one object's energy, ``[I]``: weighted mean absolute errors."""
    maps = maps_of(seen)
    own = word_map(maps, MAIN, target.tokens, readings)
    theirs = word_map(maps, target.branch, target.their_tokens, readings).detach()
    total = map_energy(own, theirs, target.asked, target.weights)
    if target.weights.appearance:
        wanted = look(seen, target.branch, theirs, readings).detach()
        apart = distance(look(seen, MAIN, own, readings) - wanted).mean(-1)
        total = total + target.weights.appearance * apart
    return total


def map_energy(own: Tensor, theirs: Tensor, placement: Placement, weights: Weights) -> Tensor:
    """Return the energies of centroid, size and shape, ``[I]``; maps ``[I, h, w]``."""
    total = own.new_zeros(len(own))
    if weights.centroid:
        error = centroid(own) - placement.centre(centroid(theirs))
        total = total + weights.centroid * distance(error).mean(-1)
    if weights.size:
        wanted = size(theirs) * placement.factor**2
        total = total + weights.size * distance(size(own) - wanted)
    if weights.shape:
        wanted = placement.outline(theirs)
        total = total + weights.shape * distance(shape(own) - wanted).mean((-2, -1))
    return total


def distance(difference: Tensor) -> Tensor:
    """Return the paper's L1 distance, rounded off near zero.

    Before a change shows, an object equals the original's but for the last bits: a bare absolute
    value would turn their signs into gradients of full size, other ones in every batch.
    """
    zero = torch.zeros_like(difference)
    return F.smooth_l1_loss(difference, zero, reduction="none", beta=ROUND)


def word_map(maps: AttentionMaps, branch: str, tokens: Tensor, readings: Readings) -> Tensor:
    """Return the map of one object, ``[I, h, w]`` on the finest site's grid.

    It is averaged over sites before anything is read from it; the paper reads each site by itself,
    of which some, in a small model, hold a few peaks and no outline.
    """
    maps = maps.select(readings.maps)
    found = []
    for site, value in maps.of(branch).items():  # [I, H, N, L]
        each = torch.einsum("ihnl,il->in", value, tokens.to(value) / value.shape[1])
        found.append(each.reshape(len(each), 1, *maps.grid(site)))
    finest = max(found, key=lambda each: each.shape[-1]).shape[-2:]
    grown = [F.interpolate(each, finest, mode="bilinear") for each in found]
    return torch.stack(grown).mean(0)[:, 0]


def look(seen: Observation, branch: str, word: Tensor, readings: Readings) -> Tensor:
    """Return the mean activation ``[I, C]`` under an object's map ``[I, h, w]``."""
    layout = maps_of(seen).layout
    features = layout.select(seen.features[readings.features], branch, "cond")
    mask = F.interpolate(word[:, None], features.shape[-2:], mode="bilinear")
    return appearance(features, shape(mask))[:, 0]


def maps_of(seen: Observation) -> AttentionMaps:
    """Return the maps that a step has read, or raise PluginError."""
    if seen.maps is None:
        raise PluginError("Self-Guidance was asked for its energy at a step without readings.")
    return seen.maps
