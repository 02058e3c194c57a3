"""Augmented views of an image, for CLIP: turned, cropped, mirrored (arXiv 2209.15264, section 4.1).

As in the authors' code: up to 10 degrees, 0.8 to 1 of the area, every second one mirrored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from underpaint.run import Run

DEGREES = 10.0
LEAST_AREA = 0.8
NUMBERS = 5
"""What a view takes of chance: an angle, a size, a place (x and y), a side."""


def draw_views(run: Run, count: int, step: int) -> Tensor:
    """Return the affine maps of a step's views ``[count, I, 2, 3]``, drawn by each image's seed."""
    noise = run.randn("diffuse-it.views", step).flatten(1)  # [I, C h w]
    asked = count * NUMBERS
    rows = noise.repeat(1, math.ceil(asked / noise.shape[1]))[:, :asked]
    chances = torch.special.ndtr(rows).reshape(len(noise), count, NUMBERS)  # uniform in [0, 1]
    return place_views(chances.transpose(0, 1))


def place_views(chances: Tensor) -> Tensor:
    """Return affine maps ``[..., 2, 3]`` from view to image for numbers ``[..., 5]`` in [0, 1]."""
    turn, area, across, down, side = chances.unbind(-1)
    angle = (2 * turn - 1) * math.radians(DEGREES)
    size = (LEAST_AREA + (1 - LEAST_AREA) * area).sqrt()
    mirror = torch.where(side < 0.5, -1.0, 1.0)
    free = 1 - size  # how far the middle may go, each way, with the image from -1 to 1
    cosine, sine = size * angle.cos(), size * angle.sin()
    rows = [mirror * cosine, -sine, free * (2 * across - 1)]
    rows += [mirror * sine, cosine, free * (2 * down - 1)]
    return torch.stack(rows, -1).reshape(*chances.shape[:-1], 2, 3)


def apply_views(images: Tensor, views: Sequence[Tensor] | Tensor) -> Tensor:
    """Return views ``[V I, 3, H, W]`` of images ``[I, 3, H, W]``, view by view; differentiable."""
    size = list(images.shape)
    seen = [
        F.grid_sample(
            images,
            F.affine_grid(view.to(images), size, align_corners=False),
            padding_mode="border",
            align_corners=False,
        )
        for view in views
    ]
    return torch.cat(seen)
