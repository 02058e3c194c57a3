"""Null-text inversion (arXiv 2211.09794): pivotal tuning, algorithm 1.

DDIM's inversion without guidance gives the pivots ``z*_T ... z*_0``. Step by step from ``z*_T`` the
unconditional embedding ``u_t`` goes down ``|| z*_{t-1} - z_{t-1}(u_t) ||^2``, where ``z_{t-1}`` is
the guided DDIM step; it starts from the embedding of the step before, and the next step starts from
where this one truly landed.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor
from underpaint.method import Method, hookimpl
from underpaint.outputs import Cotangents, Outputs
from underpaint.records import MAIN, Needs, Prediction, check_finite
from underpaint.run import Run
from underpaint.schedule import ddim_step, x0_from_noise
from underpaint.step import Step
from underpaint.trajectory import Trajectory
from underpaint.tuning import TUNED


class TuningParameters(Method):
    """How the embeddings are tuned. The defaults are the published ones for 50 steps.

    What the published code counts in steps is a part of the run here: its ``1 - i/100`` of 50 steps
    is ``1 - f/2``, its ``i * 2e-5`` is ``f * 1e-3``, where f = i/N is the part that is done.
    """

    inner_steps: int = Field(10, ge=0, description="Adam steps at each step; 0 is DDIM alone.")
    learning_rate: float = Field(
        1e-2, gt=0, description="Of Adam at the first step; it falls to half at the last."
    )
    early_stop: float = Field(
        1e-5, ge=0, description="Mean square distance to the path that is near enough at first."
    )
    early_stop_growth: float = Field(
        1e-3, ge=0, description="What has been added to it by the end, bit by bit."
    )


class PivotalTuning(TuningParameters):
    """Denoise the picture from its own noise, and tune the embedding on the way."""

    method: ClassVar[str] = "null-text-inversion.tuning"

    def start(self) -> TuningRun:
        """Return the plugin of one run."""
        return TuningRun(self)


class TuningRun:
    """One run: the embedding as it is, ``[I, L, d]``, and those of the steps so far."""

    def __init__(self, parameters: PivotalTuning) -> None:
        self.parameters = parameters
        self.embedding: Tensor | None = None
        self.tuned: list[Tensor] = []

    @hookimpl
    def needs(self) -> Needs:
        """Start from the inverted picture, and differentiate by the embeddings."""
        return Needs(inversion=True, gradient=frozenset({"context"}))

    @hookimpl(wrapper=True)
    def predict(self, step: Step) -> Generator[None, Prediction, Prediction]:
        """Tune, then predict with the tuned embedding."""
        prediction = yield
        first = step.run.conditioning.at(MAIN, "uncond", step.index)
        start = first if self.embedding is None else self.embedding
        self.embedding = self._tune(step, start, prediction.outputs.of(MAIN, "cond"))
        self.tuned.append(self.embedding)
        if self.embedding is first:
            return prediction
        context = step.run.conditioning.replace(MAIN, "uncond", self.embedding)
        uncond = step.evaluate(halves=["uncond"], context=context).noise
        outputs = _with_uncond(prediction.outputs, uncond)
        return replace(prediction, outputs=outputs).with_noise(step.combine(outputs))

    @hookimpl
    def after_step(self, step: Step) -> None:
        """Hand the embeddings over after the last step."""
        if step.index == len(step.run.moves) - 1:
            levels = (step.run.moves[0].t, *(move.next_t for move in step.run.moves))
            embeddings = torch.stack(self.tuned, 1)  # [I, S, L, d]
            step.run.report(TUNED, [(levels, each) for each in embeddings])

    def _tune(self, step: Step, start: Tensor, cond: Tensor) -> Tensor:
        """Return the embedding ``[I, L, d]`` after the inner loop; each image has its own stop."""
        done = step.index / len(step.run.moves)
        near = self.parameters.early_stop + done * self.parameters.early_stop_growth
        rate = self.parameters.learning_rate * (1 - done / 2)
        embedding = start.clone().requires_grad_()
        optimiser = torch.optim.Adam([embedding], lr=rate)  # a fresh one at each step
        active = torch.ones(len(start), dtype=torch.bool, device=start.device)
        for _ in range(self.parameters.inner_steps):
            loss, embedding.grad = self._descend(step, embedding.detach(), cond)
            before = embedding.detach().clone()
            optimiser.step()
            with torch.no_grad():
                embedding.copy_(torch.where(active[:, None, None], embedding, before))
            active &= loss >= near
            if not active.any():
                break
        return embedding.detach() if self.parameters.inner_steps else start

    def _descend(self, step: Step, embedding: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of each image ``[I]`` and its gradient ``[I, L, d]`` (eq. 3)."""
        context = step.run.conditioning.replace(MAIN, "uncond", embedding)
        asked, pullback = step.linearize(halves=["uncond"], context=context, wrt="context")
        pivot = _path(step.run).at(step.move.next_t).to(cond)  # z*_{t-1}, [I or 1, C, h, w]
        with torch.enable_grad():
            uncond = asked.noise.detach().clone().requires_grad_()
            noise = step.combine(_joined(step, uncond, cond))
            x0 = x0_from_noise(step.latents, noise, step.alpha)
            landed = ddim_step(x0, noise, step.next_alpha)
            loss = (landed - pivot).square().mean((1, 2, 3))  # [I]
            (cotangent,) = torch.autograd.grad(loss.sum(), uncond)
        check_finite(f"The distance to the path while step {step.index} was tuned", loss)
        gradient = pullback(Cotangents(noise=cotangent))
        return loss.detach(), check_finite(
            f"The gradient while step {step.index} was tuned", gradient
        )


def _path(run: Run) -> Trajectory:
    return cast("Trajectory", run.request.trajectory)  # a tuning runs along one


def _joined(step: Step, uncond: Tensor, cond: Tensor) -> Outputs:
    return Outputs(step.layout, step.latents, torch.cat([uncond, cond]))


def _with_uncond(outputs: Outputs, uncond: Tensor) -> Outputs:
    return replace(outputs, noise=torch.cat([uncond, outputs.of(MAIN, "cond")]))
