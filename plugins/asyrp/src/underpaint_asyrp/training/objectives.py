"""What a step of the training wants of the edited picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor
from underpaint.records import MAIN, Branch, Prediction
from underpaint.step import Step

from underpaint_asyrp.process import shift_x0
from underpaint_asyrp.training.loss import LossWeights, TextDirection, asyrp_loss

SOURCE = "source"
"""The branch that is not edited: what the directional loss compares with."""

Objective = Literal["clip", "prompt"]


@runtime_checkable
class Goal(Protocol):
    """A loss of one step, and the branches it looks at."""

    def branches(self) -> list[Branch]:
        """Return the branches to denoise beside the edited one."""

    def loss(self, step: Step, plain: Prediction, edited: Prediction) -> Tensor:
        """Return the loss of each picture ``[I]``; `edited` has the x0 to differentiate."""


@dataclass(frozen=True)
class ClipGoal:
    """The paper's: go where CLIP's text features lead, and change few pixels.

    Attributes
    ----------
    targets : what each source text becomes.
    weights : of the two parts.
    """

    targets: Mapping[str, str]
    weights: LossWeights

    def branches(self) -> list[Branch]:
        """Denoise the same picture without the edit beside it."""
        return [Branch(SOURCE, None, real=True)]

    def loss(self, step: Step, plain: Prediction, edited: Prediction) -> Tensor:
        """Decode the predicted pictures of both branches and compare them (eq. 6)."""
        run = step.run
        with torch.no_grad():
            before = run.decode(plain.x0[step.layout.trajectories_of(SOURCE)])
            sources = run.request.prompts
            targets = [self.targets[source] for source in sources]
            text = TextDirection.of(run.scorer, sources, targets)
        after = run.decode(edited.x0[step.layout.trajectories_of(MAIN)])
        return asyrp_loss(run.scorer, before, after, text, self.weights)


@dataclass(frozen=True)
class PromptGoal:
    """Predict what the model itself predicts for the target's text at the same latent.

    It needs neither CLIP nor the VAE and takes about a quarter of the time; it can teach nothing
    that the prompt cannot say. In latents, ``|P' - P(e(x_t | target))|_1``.

    Attributes
    ----------
    targets : what each source text becomes.
    """

    targets: Mapping[str, str]

    def branches(self) -> list[Branch]:
        """Return none."""
        return []

    def loss(self, step: Step, plain: Prediction, edited: Prediction) -> Tensor:
        """Compare with the prediction for the target's text."""
        run, main = step.run, step.layout.trajectories_of(MAIN)
        with torch.no_grad():
            targets = run.encode([self.targets[source] for source in run.request.prompts])
            context = run.conditioning.replace(MAIN, "cond", targets)
            told = step.evaluate(branches=(MAIN,), halves=("cond",), context=context, taps=())
            wanted = shift_x0(step, plain, told).x0
        return (edited.x0[main] - wanted[main]).abs().flatten(1).mean(1)
