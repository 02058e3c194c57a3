"""Inversion: a run over the same loop whose moves ascend, from a picture's latent to noise.

DDIM's inversion (arXiv 2010.02502, section 4.3) takes each denoising move backwards with the noise
that the model predicts at the *cleaner* end, told the noisier end's timestep. That is the explicit
form of an equation whose exact solution a later denoising retraces; `refinements` solves it by
fixed-point iteration (arXiv 2309.04907).
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from underpaint.method import Method, hookimpl
from underpaint.records import MAIN, Move, Prediction
from underpaint.schedule import ddim_step
from underpaint.step import Step

PIVOTS = "core.pivots"
"""Report name under which an inversion hands over its levels, and each image's latents
``[K, C, h, w]``, cleanest first."""


class Inversion(Method):
    """What turns a call into an inversion; `Pipeline.invert` puts it before all other edits.

    The call's latents are those of the pictures. `refinements` is the number of fixed-point
    iterations of each move, each another evaluation of the model.
    """

    method: ClassVar[str] = "core.inversion"

    refinements: int = 0

    def start(self) -> InversionRun:
        """Return the plugin of one run."""
        return InversionRun(self)


class InversionRun:
    """One run: the pivots so far."""

    def __init__(self, inversion: Inversion) -> None:
        self.inversion = inversion
        self.pivots: list[Tensor] = []

    @hookimpl(wrapper=True)
    def schedule(self) -> Generator[None, tuple[Move, ...], tuple[Move, ...]]:
        """Take the moves backwards."""
        moves = yield
        return tuple(Move(move.next_t, move.t, kind="invert") for move in reversed(moves))

    @hookimpl(wrapper=True)
    def predict(self, step: Step) -> Generator[None, Prediction, Prediction]:
        """Predict again where the move led, until the noise belongs to its own destination."""
        prediction = yield
        for _ in range(self.inversion.refinements):
            there = ddim_step(prediction.x0, prediction.noise, step.next_alpha)
            arrived = replace(step, move=Move(step.move.next_t, step.move.t), latents=there)
            prediction = prediction.with_noise(step.combine(arrived.evaluate()))
        return prediction

    @hookimpl
    def after_step(self, step: Step, latents: Tensor) -> None:
        """Keep the latents; hand them over after the last move."""
        self.pivots += [latents] if self.pivots else [step.latents, latents]
        if step.index == len(step.run.moves) - 1:
            main = step.layout.trajectories_of(MAIN)
            pivots = torch.stack([latents[main] for latents in self.pivots], 1)  # [I, K, ...]
            levels = (step.run.moves[0].t, *(move.next_t for move in step.run.moves))
            step.run.report(PIVOTS, [(levels, each) for each in pivots])
