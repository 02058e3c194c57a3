"""What is wrong with a guidance: who gave it, at which step, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import get_args

import torch
from torch import Tensor

from underpaint.errors import ExplodingGradientError, NonFiniteError, PluginError, choices
from underpaint.records import Guidance, Half, Into, Observation
from underpaint.step import Step

LARGEST_CHANGE = 10.0
"""How many times longer than the noise (or the latent) a step's change of it may be.

At 1 guidance weighs as much as all that the model says. The box of docs/plugin-authors.md, on
picturebook, moves objects at 0.5 to 1.6; the bar is a choice well above that, not a measured limit.
"""

_ADVICE = "Lower its weight or scale, or guide fewer steps (a shorter window)."


def check_fields(step: Step, guidance: Guidance) -> None:
    """Raise PluginError if a guidance names a destination, half or branch that does not exist."""
    if not guidance.branches:
        raise PluginError(f"{_names([guidance])} guides no branch: Guidance(branches=()).")
    fields: tuple[tuple[str, Iterable[str], Iterable[str]], ...] = (
        ("into", (guidance.into,), get_args(Into)),
        ("half", guidance.halves, get_args(Half)),
        ("branch", guidance.branches, step.layout.branches),
    )
    for field, given, known in fields:
        for name in given:
            if name not in known:
                raise PluginError(
                    f"{_names([guidance])} guides {field} {name!r}, which the run does not have. "
                    f"{choices(name, known)}"
                )


def check_energy(step: Step, guidance: Guidance, values: Tensor) -> Tensor:
    """Return the energies of the images; raise an error unless they are numbers, ``[I]``."""
    if values.dim() != 1 or not values.requires_grad:
        raise PluginError(
            f"{_names([guidance])}: An energy returned shape {tuple(values.shape)}"
            f"{'' if values.requires_grad else ' without a gradient'}. Return one differentiable "
            "scalar per image, shape [I]."
        )
    _check_finite("The energy", step, guidance, [values])
    return values


def check_slopes(step: Step, guidance: Guidance, slopes: Iterable[Tensor]) -> None:
    """Raise NonFiniteError if the gradient of an energy holds what is no number."""
    _check_finite("The gradient of the energy", step, guidance, list(slopes))


def check_change(
    step: Step, guidances: Sequence[Guidance], gradient: Tensor, observation: Observation
) -> None:
    """Raise an error if what the guidances add up to is no number, or far too much.

    The measure is the norm of the change of each trajectory's noise (or latent) against that of
    the noise (or latent) itself; see `LARGEST_CHANGE`.
    """
    into = guidances[0].into
    there = observation.noise if into == "noise" else observation.sample
    factor = (1 - step.alpha) ** 0.5 if into == "noise" else 1.0
    change = factor * gradient.flatten(1).norm(dim=1)
    times = change / there.detach().flatten(1).norm(dim=1).clamp(min=1e-12)
    worst = float(times.max())  # NaN where there is one
    if worst <= LARGEST_CHANGE:
        return
    if not math.isfinite(worst):
        raise NonFiniteError(
            f"The UNet's gradient for {_names(guidances)} holds NaN or infinite values at "
            f"{_where(step)}. {_ADVICE}"
        )
    raise ExplodingGradientError(
        f"The guidance of {_names(guidances)} would change the {into} by {worst:.3g} times "
        f"{'its' if into == 'noise' else 'their'} own size at {_where(step)}; at most "
        f"{LARGEST_CHANGE:g} times is accepted. {_ADVICE}"
    )


def _check_finite(what: str, step: Step, guidance: Guidance, values: Sequence[Tensor]) -> None:
    if values and not bool(torch.stack([value.isfinite().all() for value in values]).all()):
        raise NonFiniteError(
            f"{what} of {_names([guidance])} is NaN or infinite at {_where(step)}. Keep what it "
            "divides by and takes roots or logarithms of away from zero. "
            f"{_ADVICE}"
        )


def _names(guidances: Iterable[Guidance]) -> str:
    names = list(dict.fromkeys(g.plugin or "?" for g in guidances))
    return f"plugin{'s' * (len(names) > 1)} {' and '.join(map(repr, names))}"


def _where(step: Step) -> str:
    return f"step {step.index} (t={step.move.t})"
