"""How CLIP meets a picture in training: whole, or with all but one object's surroundings zeroed.

Blended Latent Diffusion ranks pictures that are black outside of the edited region, a box or a
silhouette (arXiv 2206.02779, section 3.4).
"""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from underpaint_picturebook.backgrounds import SIDE
from underpaint_picturebook.train.wordings import Telling, only, whole

MASKED = 0.3
"""Share of the pictures that are seen through a mask."""
VAGUE = 0.15
"""Share of the pictures brought to a quarter or an eighth of their sides, as x0 predictions at
noisy steps look."""

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class View:
    """`image` uint8 [256, 256, 3], its `marks` [256, 256] as in `Renders`, and what it shows."""

    image: NDArray[np.uint8]
    marks: NDArray[np.uint8]
    telling: Telling


def view(
    image: NDArray[np.uint8], marks: NDArray[np.uint8], truth: dict[str, Any], rng: random.Random
) -> View:
    """Return the picture, or as often as `MASKED` says one object of it."""
    telling = whole(truth)
    if rng.random() >= MASKED:
        return View(image, marks, telling)
    index = rng.randrange(len(truth["objects"]))
    silhouette = rng.random() < 0.5
    box = truth["objects"][index]["box"]
    mask = marks == index + 1 if silhouette else around(box, rng.uniform(0.0, 0.4))
    return View(
        image * mask[..., None], marks * mask, only(telling, index, background=not silhouette)
    )


def around(box: Box, margin: float) -> NDArray[np.bool_]:
    """Return a mask [256, 256] of a box with a margin, given as a share of the box's sides."""
    left, top, right, bottom = box
    wide, high = round(margin * (right - left)), round(margin * (bottom - top))
    mask = np.zeros((SIDE, SIDE), dtype=np.bool_)
    mask[max(0, top - high) : bottom + high, max(0, left - wide) : right + wide] = True
    return mask


def blur(signal: Tensor, generator: torch.Generator) -> Tensor:
    """Take the detail from as many of the pictures [B, 3, H, W] as `VAGUE` says, in place."""
    chance = torch.rand(len(signal), generator=generator)
    for factor, chosen in ((4, chance < VAGUE / 2), (8, chance > 1 - VAGUE / 2)):
        small = F.avg_pool2d(signal[chosen], factor)
        signal[chosen] = F.interpolate(small, size=signal.shape[2:], mode="bilinear")
    return signal
