"""What an object looks like from inside: properties of attention maps and activations.

arXiv 2306.00986, section 3.2. A map is a word's cross attention, ``[..., h, w]``; everything is
differentiable, and positions are fractions of the picture: x to the right, y downward.
"""

from __future__ import annotations

import torch
from torch import Tensor

EPS = 1e-4
"""Keeps the quotients of an empty map finite."""

SHARPNESS = 10.0
"""s of eq. 5."""

THRESHOLD = 0.3
"""b of eq. 5, where the paper has 0.5: averaged maps fall off from a peak inside the object."""


def centroid(maps: Tensor) -> Tensor:
    """Return (x, y) of each map's centre of mass, ``[..., 2]`` (eq. 4)."""
    height, width = maps.shape[-2:]
    x, y = _cells(width, maps), _cells(height, maps)
    total = maps.sum((-2, -1)) + EPS
    return torch.stack([(maps.sum(-2) * x).sum(-1) / total, (maps.sum(-1) * y).sum(-1) / total], -1)


def shape(maps: Tensor) -> Tensor:
    """Return soft masks in [0, 1], ``[..., h, w]`` (eq. 5): ``N(sigmoid(s (N(A) - b)))``.

    N brings each map by itself to [0, 1]. Its extremes get no gradient, unlike the paper's: else
    one peak, raised or flattened, would do for a change of the whole outline.
    """
    return _normalise(torch.sigmoid(SHARPNESS * (_normalise(maps) - THRESHOLD)))


def size(maps: Tensor) -> Tensor:
    """Return the part of the picture that each soft mask takes, ``[...]`` (eq. 5)."""
    return shape(maps).mean((-2, -1))


def appearance(features: Tensor, masks: Tensor) -> Tensor:
    """Return the mean activation under each mask, ``[I, K, C]`` (eq. 6).

    `features` is ``[I, C, h, w]``, `masks` ``[I, K, h, w]`` of the same size. The masks get no
    gradient: a look must not be reached by a change of place.
    """
    weights = masks.detach()
    total = torch.einsum("ichw,ikhw->ikc", features, weights)
    return total / (weights.sum((-2, -1)) + EPS)[..., None]


def _cells(count: int, like: Tensor) -> Tensor:
    """Return the middles of a row's cells, as fractions of its length."""
    return (torch.arange(count, device=like.device, dtype=like.dtype) + 0.5) / count


def _normalise(maps: Tensor) -> Tensor:
    still = maps.detach()
    low, high = still.amin((-2, -1), keepdim=True), still.amax((-2, -1), keepdim=True)
    return (maps - low) / (high - low + EPS)
