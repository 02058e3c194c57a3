"""Weighted distances of properties from their targets (arXiv 2306.00986, sections 3.2 and 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor
from underpaint.errors import PluginError
from underpaint.maps import AttentionMaps
from underpaint.records import MAIN, Observation
from underpaint.sites import Site, SiteSelector

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
    """

    tokens: Tensor
    branch: str
    their_tokens: Tensor
    weights: Weights
    placement: Placement = field(default_factory=Placement)


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
    """Return one object's energy, ``[I]``: mean absolute errors, averaged over sites."""
    own = word_maps(_maps(seen), MAIN, target.tokens, readings)
    theirs = word_maps(_maps(seen), target.branch, target.their_tokens, readings)
    theirs = {site: value.detach() for site, value in theirs.items()}
    parts = [
        map_energy(value, theirs[site], target.placement, target.weights)
        for site, value in own.items()
    ]
    total = torch.stack(parts).mean(0)
    if target.weights.appearance:
        looks = [
            look(seen, branch, maps, readings)
            for branch, maps in ((MAIN, own), (target.branch, theirs))
        ]
        apart = distance(looks[0] - looks[1].detach()).mean(-1)
        total = total + target.weights.appearance * apart
    return total


def map_energy(own: Tensor, theirs: Tensor, placement: Placement, weights: Weights) -> Tensor:
    """Return the energies of centroid, size and shape at one site, ``[I]``; maps ``[I, h, w]``."""
    old = centroid(theirs)
    total = own.new_zeros(len(own))
    if weights.centroid:
        error = centroid(own) - placement.centre(old)
        total = total + weights.centroid * distance(error).mean(-1)
    if weights.size:
        wanted = size(theirs) * placement.factor**2
        total = total + weights.size * distance(size(own) - wanted)
    if weights.shape:
        outline = shape(theirs)
        wanted = outline if placement.is_still else placement.apply(outline, old)
        total = total + weights.shape * distance(shape(own) - wanted).mean((-2, -1))
    return total


def distance(difference: Tensor) -> Tensor:
    """Return the paper's L1 distance, rounded off near zero.

    Before a change shows, an object equals the original's but for the last bits: a bare absolute
    value would turn their signs into gradients of full size, other ones in every batch.
    """
    zero = torch.zeros_like(difference)
    return F.smooth_l1_loss(difference, zero, reduction="none", beta=ROUND)


def word_maps(
    maps: AttentionMaps, branch: str, tokens: Tensor, readings: Readings
) -> dict[Site, Tensor]:
    """Return the map of one object at each site, ``[I, h, w]``."""
    maps = maps.select(readings.maps)
    found = {}
    for site, value in maps.of(branch).items():  # [I, H, N, L]
        each = torch.einsum("ihnl,il->in", value, tokens.to(value) / value.shape[1])
        found[site] = each.reshape(len(each), *maps.grid(site))
    return found


def look(seen: Observation, branch: str, maps: Mapping[Site, Tensor], readings: Readings) -> Tensor:
    """Return the mean activation under an object's finest maps, ``[I, C]``."""
    layout = _maps(seen).layout
    features = layout.select(seen.features[readings.features], branch, "cond")
    level = min(site.level for site in maps)
    finest = torch.stack([value for site, value in maps.items() if site.level == level]).mean(0)
    mask = F.interpolate(finest[:, None], features.shape[-2:], mode="bilinear")
    return appearance(features, shape(mask))[:, 0]


def _maps(seen: Observation) -> AttentionMaps:
    if seen.maps is None:
        raise PluginError("Self-Guidance was asked for its energy at a step without readings.")
    return seen.maps
