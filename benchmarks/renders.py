"""Renders of picturebook's world as real pictures: those that no training saw, and their error."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from underpaint_picturebook.train.data import FIRST_TEST_SEED
from underpaint_picturebook.world import Scene, scene

Pixels = NDArray[np.uint8]


def unseen_scenes() -> Iterator[Scene]:
    """Yield scenes with one object and no style, from the first seed behind the training's."""
    seed = FIRST_TEST_SEED
    while True:
        made = scene(seed)
        seed += 1
        if len(made.objects) == 1 and made.style == "none":
            yield made


def psnr(a: Pixels, b: Pixels, where: NDArray[np.bool_] | None = None) -> float:
    """Return the peak signal-to-noise ratio of two 8-bit pictures in dB."""
    squares = (a.astype(np.float64) - b) ** 2
    error = squares.mean() if where is None else squares[where].mean()
    return 10 * math.log10(255**2 / max(float(error), 1e-9))
