"""The training: pictures in batches, an update at every edited step, a checkpoint a batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from underpaint.pipeline import Pipeline

from underpaint_asyrp.attribute import Attribute
from underpaint_asyrp.training.checkpoint import Checkpoint
from underpaint_asyrp.training.loss import LossWeights
from underpaint_asyrp.training.method import Learner, Training
from underpaint_asyrp.training.objectives import ClipGoal, Goal, PromptGoal
from underpaint_asyrp.training.plan import Case, Plan

LEAST_RATE = 0.1
"""Of the first learning rate: what is left of it at the end."""

Told = Callable[[int, int, float], None]
"""Called after each batch with the number done, of how many, and its mean loss."""


def train(
    pipe: Pipeline, plan: Plan, checkpoint: Path | None = None, told: Told | None = None
) -> Attribute:
    """Train an attribute; what was interrupted goes on from its checkpoint.

    Equal plans give equal attributes, interrupted or not.

    Parameters
    ----------
    pipe : on an engine with gradients; with a scorer, for the objective ``clip``.
    plan : the settings.
    checkpoint : the file of the unfinished state; None keeps none.
    told : hears of the progress.

    Raises
    ------
    InvalidRequestError
        If the plan cannot be used, or the checkpoint is another training's.
    NotOfferedError
        If no engine of the model has gradients, or the objective needs a scorer and there is none.
    """
    learner = make_learner(pipe, plan)
    batches = plan.batches() * plan.epochs
    kept = checkpoint and Checkpoint(checkpoint, plan, pipe.engine.info.digest)
    done = kept.restore(learner) if kept else 0
    for number in range(done, len(batches)):
        rate = learning_rate(plan.learning_rate, number / len(batches))
        for group in learner.optimizer.param_groups:
            group["lr"] = rate
        before = len(learner.losses)
        _walk(pipe, plan, learner, batches[number])
        if kept:
            kept.save(learner, number + 1)
        if told:
            losses = learner.losses[before:]
            told(number + 1, len(batches), sum(losses) / max(len(losses), 1))
    facts = plan.facts(pipe.engine.info, updates=len(learner.losses), losses=_thirds(learner))
    return Attribute(facts, learner.direction.eval().requires_grad_(False))


def make_learner(pipe: Pipeline, plan: Plan) -> Learner:
    """Return an untrained direction with its optimiser."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        direction = plan.facts(pipe.engine.info).build().to(pipe.engine.device)
    return Learner(
        direction=direction,
        optimizer=torch.optim.Adam(direction.parameters(), lr=plan.learning_rate),
        goal=make_goal(plan),
        t_edit=plan.t_edit,
        halves=plan.halves,
    )


def make_goal(plan: Plan) -> Goal:
    """Return what a plan trains for."""
    targets = {case.source: case.target for case in plan.cases()}
    if plan.objective == "prompt":
        return PromptGoal(targets)
    return ClipGoal(targets, LossWeights(plan.clip_weight, plan.l1_weight))


def learning_rate(first: float, progress: float) -> float:
    """Return the learning rate: along a cosine from `first` to a tenth of it."""
    fall = (1 + math.cos(math.pi * progress)) / 2
    return first * (LEAST_RATE + (1 - LEAST_RATE) * fall)


def _walk(pipe: Pipeline, plan: Plan, learner: Learner, cases: list[Case]) -> None:
    images = [case.image for case in cases if case.image]
    pipe(
        [case.source for case in cases],
        edits=[Training.model_construct(learner=learner)],
        seed=[case.seed for case in cases],
        num_inference_steps=plan.num_inference_steps,
        guidance_scale=plan.guidance_scale,
        image=images or None,
        output_type="latent",
        record_attention=False,
    )


def _thirds(learner: Learner) -> list[float]:
    """Return the mean loss of the first, the middle and the last third of the updates."""
    losses = torch.tensor(learner.losses)
    return [round(float(part.mean()), 4) for part in losses.chunk(3)]
