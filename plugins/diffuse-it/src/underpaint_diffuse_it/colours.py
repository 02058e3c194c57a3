"""Colours of one picture given to another: the Monge-Kantorovich map between two Gaussians.

Pitie and Kokaram, "The linear Monge-Kantorovitch linear colour mapping", 2007: the linear map that
gives colours the mean and the covariance of others and moves them the least.
"""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_VARIANCE = 1e-6
"""Of a colour direction: a picture of one flat colour has none."""


def match_colours(images: Tensor, style: Tensor) -> Tensor:
    """Return images ``[I, 3, H, W]`` in [0, 1] with the colours of `style` ``[1, 3, H, W]``."""
    own, own_mean, own_covariance = _statistics(images)
    _, mean, covariance = _statistics(style.to(images))
    root, inverse = _roots(own_covariance)
    inner, _ = _roots(root @ covariance @ root)
    moved = (inverse @ inner @ inverse) @ (own - own_mean) + mean  # [I, 3, H W]
    return moved.reshape(images.shape).clamp(0, 1)


def _statistics(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    colours = images.flatten(2)  # [I, 3, H W]
    mean = colours.mean(2, keepdim=True)
    centred = colours - mean
    return colours, mean, centred @ centred.mT / colours.shape[2]


def _roots(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Return the square roots of symmetric matrices, and their inverses."""
    values, vectors = torch.linalg.eigh(matrices)
    roots = values.clamp(min=LEAST_VARIANCE).sqrt()[:, None]
    return (vectors * roots) @ vectors.mT, (vectors / roots) @ vectors.mT
