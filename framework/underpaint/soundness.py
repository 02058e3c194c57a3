"""What is wrong with a guidance: who gave it, at which step, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import get_args

import torch
from torch import Tensor

from underpaint.errors import ExplodingGradientError, NonFiniteError, PluginError, choices
from underpaint.guidance import Guidance, Observation
from underpaint.records import Half, Into
from underpaint.step import Step

LARGEST_CHANGE = 10.0
"""How many times longer than the noise (or the latent) a step's change of it may be.

At 1 guidance weighs as much as all that the model says. The box of docs/plugin-authors.md, on
picturebook, moves objects at 0.5 to 1.6; the bar is a choice well above that, not a measured limit.
"""

_ADVICE = "Lower its weight or scale, or guide fewer steps (a shorter window)."


def check_fields(step: Step, guidance: Guidance) -> None:
    """Raise PluginError if a guidance names what does not exist, or limits itself to nothing."""
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
    if guidance.limit is not None and not guidance.limit > 0:
        raise PluginError(
            f"{_names([guidance])} gave Guidance(limit={guidance.limit}). Give a number above 0, "
            "the greatest change of one number, or None for no limit."
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


def check_pullback(step: Step, guidances: Sequence[Guidance], gradient: Tensor) -> None:
    """Raise NonFiniteError if a gradient by the latents holds what is no number.

    It comes before the gradient is limited, which would hide infinity.
    """
    if not bool(gradient.isfinite().all()):
        raise NonFiniteError(
            f"The UNet's gradient for {_names(guidances)} holds NaN or infinite values at "
            f"{_where(step)}. {_ADVICE}"
        )


def check_change(
    step: Step, guidances: Sequence[Guidance], gradient: Tensor, observation: Observation
) -> None:
    """Raise ExplodingGradientError if what the guidances add up to is far too much.

    The measure is the norm of the change of each trajectory's noise (or latent) against that of
    the noise (or latent) itself; see `LARGEST_CHANGE`.
    """
    into = guidances[0].into
    there = observation.noise if into == "noise" else observation.sample
    change = guidances[0].factor(step.alpha) * gradient.flatten(1).norm(dim=1)
    times = change / there.detach().flatten(1).norm(dim=1).clamp(min=1e-12)
    worst = float(times.max())
    if worst <= LARGEST_CHANGE:
        return
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
