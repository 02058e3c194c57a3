"""Regularised inversion (arXiv 2302.03027, section 3.1, algorithm 1): noise that stays noise."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from underpaint.errors import NonFiniteError
from underpaint.method import Method, hookimpl
from underpaint.records import Needs, Prediction
from underpaint.run import Run
from underpaint.step import Step

from underpaint_pix2pix_zero.regularisation import pyramid_levels, regularise

PUBLISHED_PIXELS = 64 * 64
"""Pixels of the latents that the published weights are for."""


class RegularisedInversion(Method):
    """Keep each predicted noise of an inversion white and standard normal (arXiv 2302.03027).

    Both losses are means, so that a pixel's gradient is the larger the fewer pixels there are. The
    weights are those of 64x64 latents; smaller ones take as much less as makes the same step.
    """

    method: ClassVar[str] = "regularised-inversion"

    correlation: float = Field(20.0, ge=0, description="Weight of the loss of correlated pixels.")
    divergence: float = Field(
        20.0, ge=0, description="Weight of the loss of another mean and variance than 0 and 1."
    )
    repetitions: int = Field(5, ge=0, le=100, description="How often both are gone down, a step.")
    rolls: int = Field(
        5, ge=1, le=100, description="Random shifts, one after the other, of each repetition."
    )

    def start(self) -> RegularisedRun:
        """Return the plugin of one run."""
        return RegularisedRun(self)

    def inverting(self) -> Sequence[Method]:
        """Take part in the inversion of the call's picture."""
        return (self,)


class RegularisedRun:
    """One run: an inversion, or the edit of the picture that was inverted."""

    def __init__(self, edit: RegularisedInversion) -> None:
        self.edit = edit

    @hookimpl
    def needs(self) -> Needs:
        """Start from the inverted picture."""
        return Needs(inversion=True)

    @hookimpl(wrapper=True)
    def predict(self, step: Step) -> Generator[None, Prediction, Prediction]:
        """Regularise what an inverting move goes along."""
        prediction = yield
        edit = self.edit
        if step.move.kind != "invert":
            return prediction
        shifts = [
            [draw_shifts(step, f"{repetition}/{roll}") for roll in range(edit.rolls)]
            for repetition in range(edit.repetitions)
        ]
        share = step.latents.shape[-2] * step.latents.shape[-1] / PUBLISHED_PIXELS
        weights = (share * edit.correlation, share * edit.divergence)
        noise = regularise(prediction.noise, shifts, *weights)
        check_noise(noise, prediction.noise, step)
        return prediction.with_noise(noise)


def check_noise(noise: Tensor, before: Tensor, step: Step) -> None:
    """Raise NonFiniteError where going down the losses led away from all numbers."""
    if not bool(noise.isfinite().all()):
        raise NonFiniteError(
            f"regularised-inversion: the noise of step {step.index} (t={step.move.t}) ran away. "
            f"The model predicts noise of variance {float(before.var()):.3g}, and the losses "
            "expect about 1. Lower divergence and correlation, or give repetitions=0 for the plain "
            "inversion."
        )


def draw_shifts(step: Step, key: str) -> Tensor:
    """Return a shift in ``[1, S/2)`` for each map of the pyramid, int64 ``[T, C, levels]``.

    The first published code drew from ``[0, S/2)``: a shift of 0 punishes the variance itself.
    """
    height, width = step.latents.shape[-2:]
    run: Run = step.run
    normal = run.randn(f"regularised-inversion/{key}", step.index)  # [I, C, h, w]
    levels = torch.arange(pyramid_levels(height, width), device=normal.device)
    drawn = normal.flatten(2)[:, :, : len(levels)]
    uniform = 0.5 * (1 + torch.erf(drawn / math.sqrt(2)))  # of a normal: its distribution function
    largest = (min(height, width) // 2 ** (levels + 1) - 1).clamp(min=1)
    shifts = 1 + (uniform * largest).long().clamp(max=largest - 1)
    return shifts.repeat_interleave(len(step.layout.branches), 0)
