"""Before the first step: the schedule, the texts, and what plugins say of the steps to come.

A real run and `underpaint.explaining` prepare and look ahead with these same functions, so that a
conflict is told before the UNet is asked, in the same words.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from underpaint.hooks import Hooks
from underpaint.packing import pack_edits
from underpaint.run import Run
from underpaint.step import Step


def prepare(run: Run, hooks: Hooks) -> None:
    """Set a run's moves and text embeddings.

    Raises
    ------
    TrajectoryMismatchError
        If a path that it is to follow was made for another model, schedule or size.
    """
    run.combiner = hooks.combine
    run.moves = hooks.schedule(run)
    shape = (run.request.images, *run.request.latent_shape)
    for path in (run.request.trajectory, *(branch.trajectory for branch in run.branches)):
        if path is not None:
            path.check(run.request.model.digest, run.moves, shape)
    run.conditioning = hooks.conditioning(run)


def check_edits(run: Run, hooks: Hooks) -> None:
    """Look at all steps' attention edits, if there are several plugins that may clash.

    One that makes its edits from what the UNet says in the run has none yet: its clashes are told
    at their step.

    Raises
    ------
    ConflictError
        If two write the same thing at some step; the message names both.
    """
    if len(hooks.roles("attention_edits")) > 1:
        for _ in look_ahead(run, hooks):
            pass


def look_ahead(run: Run, hooks: Hooks) -> Iterator[Step]:
    """Yield each step that asks the UNet, with its edits and with blank latents.

    Raises
    ------
    ConflictError, InvalidRequestError, UnknownSiteError
        For edits that clash, or that read or write what is not there.
    """
    model = run.request.model
    blank = torch.zeros(run.layout.trajectories, *run.request.latent_shape)
    for index, move in enumerate(run.moves):
        if move.kind != "renoise":
            step = Step(run, index, move, blank.to(run.engine.device))
            step = replace(step, edits=hooks.attention_edits(step))
            pack_edits(step.edits, run.layout, model.sites, model.context_length)
            yield step
