"""The picture's latent at every noise level: what stands outside of the mask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from underpaint.schedule import add_noise
from underpaint.step import Step

NoiseMode = Literal["fresh", "fixed", "inverted"]

NOISE = "blended-latent-diffusion"
"""Key of the noise that is fresh at every step."""


@dataclass(frozen=True, eq=False)
class Background:
    """``z_bg`` of algorithm 1.

    Attributes
    ----------
    mode : ``fresh`` draws noise at every step, ``fixed`` keeps that of the start, ``inverted``
        takes the path along which the picture was inverted.
    clean : ``[1 or I, C, h, w]``, the encoded picture.
    noise : ``[I, C, h, w]``, the noise of the start.
    """

    mode: NoiseMode
    clean: Tensor
    noise: Tensor

    @classmethod
    def of(cls, mode: NoiseMode, clean: Tensor, start: Tensor, alpha: float) -> Background:
        """Read the noise out of the latents ``[I, C, h, w]`` that the run starts from."""
        noise = (start - math.sqrt(alpha) * clean) / math.sqrt(1 - alpha)
        return cls(mode, clean, noise)

    def after(self, step: Step) -> Tensor:
        """Return the picture's latent at the level that a step goes to, ``[1 or I, C, h, w]``.

        After the last step it is the encoded picture itself, without noise.
        """
        level, path = step.move.next_t, step.run.request.trajectory
        if level < 0:
            return self.clean
        if self.mode == "inverted" and path is not None:
            return path.at(level).to(self.clean)
        noise = step.run.randn(NOISE, step.index) if self.mode == "fresh" else self.noise
        return add_noise(self.clean, noise, step.next_alpha)
