"""The training as an edit: it walks along the edited path and learns at every step."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from underpaint.method import Method, hookimpl
from underpaint.outputs import Cotangents
from underpaint.records import MAIN, Branch, Conditioning, Needs, Prediction
from underpaint.request import Request
from underpaint.run import Run
from underpaint.step import Step

from underpaint_asyrp.directions import Direction
from underpaint_asyrp.process import (
    Halves,
    chosen_halves,
    edit_window,
    guide_edit_alone,
    hidden_delta,
    shift_x0,
    tap_hidden,
)
from underpaint_asyrp.training.objectives import Goal


@dataclass(eq=False)
class Learner:
    """What is trained, and how.

    Attributes
    ----------
    direction : the module.
    optimizer : of its weights.
    goal : what it is trained for.
    t_edit, halves : see `AttributeFacts`.
    losses : of every update so far, a mean over its pictures.
    """

    direction: Direction
    optimizer: torch.optim.Optimizer
    goal: Goal
    t_edit: int
    halves: Halves
    losses: list[float] = field(default_factory=list)


class Training(Method):
    """Train a direction on the pictures of the call (arXiv 2210.10960, section 4.2)."""

    method: ClassVar[str] = "asyrp.training"

    learner: Learner

    def start(self) -> TrainingRun:
        """Return the plugin of one run."""
        return TrainingRun(self.learner)

    def describe(self) -> dict[str, Any]:
        """Return the name alone: a learner is no parameter."""
        return {"method": self.method}


class TrainingRun:
    """One run: a picture's way along the edited path."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner

    @hookimpl
    def needs(self, request: Request) -> Needs:
        """Read h, and differentiate with respect to what is added to it."""
        window = edit_window(request.model.noise, self.learner.t_edit)
        return Needs(
            taps=(tap_hidden(window),),
            hidden_delta=True,
            gradient=frozenset({"hidden_delta"}),
            inversion=True,
        )

    @hookimpl
    def branches(self) -> list[Branch]:
        """Denoise beside it what the loss compares with."""
        return self.learner.goal.branches()

    @hookimpl(wrapper=True)
    def conditioning(self, run: Run) -> Generator[None, Conditioning, Conditioning]:
        """Of a real picture, guide the edit alone."""
        conditioning = yield
        return guide_edit_alone(run, conditioning)

    @hookimpl(wrapper=True)
    def predict(self, step: Step) -> Generator[None, Prediction, Prediction]:
        """Make one update, and go on along the edited path."""
        prediction = yield
        window = edit_window(step.run.request.model.noise, self.learner.t_edit)
        if step.move.kind != "denoise" or not window.contains(step.progress):
            return prediction
        return self._learn(step, prediction)

    def _learn(self, step: Step, prediction: Prediction) -> Prediction:
        learner, halves = self.learner, chosen_halves(self.learner.halves)
        rows = step.layout.subset((MAIN,), halves)
        with torch.enable_grad():
            delta = hidden_delta(
                step, prediction, rows, lambda hidden: learner.direction(hidden, step.move.t)
            )
        outputs, pullback = step.linearize(
            branches=(MAIN,),
            halves=halves,
            hidden_delta=delta.detach(),
            taps=(),
            wrt="hidden_delta",
        )
        with torch.enable_grad():
            outputs.noise.requires_grad_()
            edited = shift_x0(step, prediction, outputs)
            loss = learner.goal.loss(step, prediction, edited).mean()
        (gradient,) = torch.autograd.grad(loss, outputs.noise)
        learner.optimizer.zero_grad()
        torch.autograd.backward(delta, pullback(Cotangents(noise=gradient)))
        learner.optimizer.step()
        learner.losses.append(float(loss))
        return replace(edited, x0=edited.x0.detach())
