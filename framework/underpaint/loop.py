"""The denoising loop."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from underpaint import core
from underpaint.cancel import CancelToken
from underpaint.hooks import Hooks
from underpaint.records import check_finite
from underpaint.rehearsal import check_edits, prepare
from underpaint.run import Run
from underpaint.step import Step


@dataclass(frozen=True, eq=False)
class Denoised:
    """The end of a run: latents ``[T, C, h, w]``, images ``[T, 3, H, W]`` or None, seconds."""

    latents: Tensor
    images: Tensor | None
    prepare: float
    steps: tuple[float, ...]
    decode: float


@torch.no_grad()
def denoise(run: Run, hooks: Hooks, cancel: CancelToken, decode: bool = True) -> Denoised:
    """Run all steps and decode.

    Raises
    ------
    CancelledError
        If `cancel` was set; checked before every step.
    NonFiniteError
        If the final latents or the images are not numbers.
    """
    started = time.perf_counter()
    latents = _prepare(run, hooks)
    prepared = time.perf_counter()
    ticks = [prepared]
    for index, move in enumerate(run.moves):
        cancel.check(index, len(run.moves))
        latents = _step(Step(run, index, move, latents), hooks)
        ticks.append(time.perf_counter())
    check_finite("The final latents", latents)
    images = _decode(run, hooks, latents) if decode else None
    seconds = tuple(end - start for start, end in pairwise(ticks))
    return Denoised(latents, images, prepared - started, seconds, time.perf_counter() - ticks[-1])


def _step(step: Step, hooks: Hooks) -> Tensor:
    try:
        hooks.before_step(step)
        if step.move.kind == "renoise":
            latents = core.renoise(step)
        else:
            edits = hooks.attention_edits(step)
            step = replace(step, edits=edits) if edits else step
            latents = hooks.advance(step, hooks.predict(step))
        hooks.after_step(step, latents)
    except Exception as error:
        hooks.annotate(error, f"step {step.index} (t={step.move.t})")
        raise
    return latents


def _prepare(run: Run, hooks: Hooks) -> Tensor:
    try:
        prepare(run, hooks)
        check_edits(run, hooks)
        return hooks.initial_latents(run)
    except Exception as error:
        hooks.annotate(error, "before the first step")
        raise


def _decode(run: Run, hooks: Hooks, latents: Tensor) -> Tensor:
    try:
        return check_finite("The decoded image", hooks.decode(run, latents))
    except Exception as error:
        hooks.annotate(error, "after the last step")
        raise
