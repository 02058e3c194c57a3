"""The asymmetric process: what the plugin and its training have in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor
from underpaint.layout import HALVES, Layout
from underpaint.outputs import Outputs
from underpaint.records import MAIN, Conditioning, Half, Prediction, Tap, Window
from underpaint.run import Run
from underpaint.schedule import NoiseSchedule, x0_from_noise
from underpaint.sites import SiteSelector
from underpaint.step import Step
from underpaint.trajectory import Trajectory

MID_BLOCK = "mid_block"
"""The site of h-space: engines add hidden deltas to its output."""

Halves = Literal["cond", "both"]
"""Whose h is moved: that of the conditional rows, or of the unconditional ones as well."""


def edit_window(noise: NoiseSchedule, t_edit: int) -> Window:
    """Return the part of the noise range where ``t >= t_edit``."""
    return Window(0.0, min(max(1 - t_edit / noise.levels, 0.0), 1.0))


def tap_hidden(window: Window) -> Tap:
    """Return the reading of h during a window."""
    return Tap(SiteSelector("activation", names=frozenset({MID_BLOCK})), during=window)


def chosen_halves(halves: Halves) -> tuple[Half, ...]:
    """Return the halves of guidance whose rows are evaluated again."""
    return ("cond",) if halves == "cond" else ("uncond", "cond")


def path_of(run: Run) -> Trajectory | None:
    """Return the path of the picture that is edited, if the prompt is what it was inverted with.

    With another prompt it is some other edit's to say how the picture is kept.
    """
    path = run.request.trajectory
    shown = set(path.prompts) if path else set()
    return path if shown and shown == set(run.prompts(MAIN)) else None


def guide_edit_alone(run: Run, conditioning: Conditioning) -> Conditioning:
    """Let guidance scale what is edited of a real picture, and not the picture.

    It was inverted without guidance. With its own prompt in the place of the empty negative one,
    both halves agree on it (negative-prompt inversion, arXiv 2305.16807), and only what the second
    evaluation changes is scaled. A negative prompt of the call's own, and embeddings that were
    tuned for each step, stay.
    """
    uncond = conditioning.embeddings.get((MAIN, "uncond"))  # [I, L, d]
    path = path_of(run)
    if path is None or uncond is None or uncond.dim() == 4 or any(run.negative_prompts(MAIN)):
        return conditioning
    return conditioning.replace(MAIN, "uncond", run.encode(run.prompts(MAIN)))


def keep_direction(step: Step, prediction: Prediction) -> Prediction:
    """Let D of a real picture keep the noise of the path that it was inverted along.

    The main branch's latents are then the predicted picture, noised as the picture was (Direct
    Inversion, arXiv 2310.01506, of D). Calls with ``follow=False`` leave D to the model (eq. 5).
    """
    path = path_of(step.run)
    if path is None or not step.run.request.follow:
        return prediction
    here, there = (path.at(t).to(prediction.noise) for t in (step.move.t, step.move.next_t))
    noise = path_noise(here, there, step.alpha, step.next_alpha)  # [I or 1, C, h, w]
    place = torch.tensor(step.layout.trajectories_of(MAIN), device=noise.device)
    shape = (len(place), *noise.shape[1:])
    return replace(prediction, noise=prediction.noise.index_copy(0, place, noise.expand(shape)))


def path_noise(here: Tensor, there: Tensor, alpha: float, next_alpha: float) -> Tensor:
    """Return the noise with which DDIM goes from one latent to the next (arXiv 2010.02502, eq. 13).

    ``x_p / sqrt(a_p) - x_t / sqrt(a_t) = (s_p - s_t) e`` with ``s = sqrt((1 - a) / a)``.
    """
    ratios = [math.sqrt((1 - a) / a) for a in (alpha, next_alpha)]
    moved = there / math.sqrt(next_alpha) - here / math.sqrt(alpha)
    return moved / (ratios[1] - ratios[0])


def hidden_delta(
    step: Step, prediction: Prediction, rows: Layout, direction: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return ``direction(h)`` for the main branch's rows, and zero for the others.

    ``[R', C, h, w]`` for `rows`, a part of the step's; differentiable in the direction's weights.
    """
    hidden = prediction.features[MID_BLOCK]  # [R, C, h, w]
    delta = hidden.new_zeros(len(rows.rows), *hidden.shape[1:])
    for half in HALVES:
        place = rows.rows_of(MAIN, half)
        if place:
            moved = direction(step.layout.select(hidden, MAIN, half))  # [I, C, h, w]
            delta = delta.index_copy(0, torch.tensor(place, device=delta.device), moved)
    return delta


def shift_x0(step: Step, prediction: Prediction, moved: Outputs) -> Prediction:
    """Shift the predicted picture by ``P(e~) - P(e)`` and leave the direction to the noise.

    The shift, rather than P(e~) itself, keeps what edits before this one made of x0. `moved` is
    the second evaluation; guidance combines it with the rows that were not evaluated again.
    """
    plain = step.combine(prediction.outputs)
    shifted = step.combine(merge(prediction.outputs, moved))
    pictures = [x0_from_noise(prediction.sample, e, step.alpha) for e in (shifted, plain)]
    return replace(prediction, x0=prediction.x0 + pictures[0] - pictures[1])


def merge(plain: Outputs, moved: Outputs) -> Outputs:
    """Return `plain` with the rows of `moved` in place of its own."""
    place = {row: index for index, row in enumerate(plain.layout.rows)}
    rows = torch.tensor([place[row] for row in moved.layout.rows], device=plain.noise.device)
    return replace(plain, noise=plain.noise.index_copy(0, rows, moved.noise))
