"""From energies to one gradient: energies -> cotangents -> one pullback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor

from underpaint import soundness
from underpaint.guidance import Guidance, Observation
from underpaint.layout import Layout
from underpaint.outputs import Cotangents, Outputs
from underpaint.schedule import x0_from_noise
from underpaint.step import Step
from underpaint.through import linearize_through, through_of

Slopes = dict[tuple[str, str], Tensor]
"""Gradients by what they are with respect to, e.g. ("maps", site name); absent is zero."""

_SAMPLE, _NOISE = ("sample", ""), ("noise", "")


def descend(step: Step, guidances: Sequence[Guidance]) -> tuple[Outputs, Tensor]:
    """Return the outputs at the step's latents and the gradient of ``sum scale * energy``.

    The gradient is with respect to the latents, ``[T, C, h, w]``: through the UNet (one pullback
    for all guidances that move the same branches, within the same limit) and through the direct
    path from the latent to x0; it is zero for branches that no guidance moves. Energies see only
    small leaf tensors, so they run in plain autograd whatever engine computes the pullback.

    Parameters
    ----------
    guidances : of one destination (`into`).

    Raises
    ------
    PluginError
        If an energy has another shape than ``[I]``.
    NonFiniteError, ExplodingGradientError
        If the gradient is no number, or out of all proportion to what it is added to.
    """
    outputs, pullback = linearize_through(step, through_of(guidances))
    leaves = _leaves(outputs)
    with torch.enable_grad():
        observation = _observe(step, leaves)
    gradient = torch.zeros_like(leaves.sample)
    for (branches, limit), members in groupby(sorted(guidances, key=_group), key=_group):
        group = list(members)
        slopes = _add(_slopes(step, g, leaves, observation) for g in group)
        moved = [i for name in branches for i in step.layout.trajectories_of(name)]
        direct = slopes.get(_SAMPLE, torch.zeros_like(gradient))
        total = direct + sum_rows(pullback(_cotangents(slopes)), step.layout)
        soundness.check_pullback(step, group, total)
        most = limit / group[0].factor(step.alpha)
        gradient[moved] += total[moved].clamp(-most, most)
    soundness.check_change(step, guidances, gradient, observation)
    return outputs, gradient


def sum_rows(rows: Tensor, layout: Layout) -> Tensor:
    """Add up the gradients of the rows of each trajectory: ``[R, ...]`` -> ``[T, ...]``."""
    total = rows.new_zeros(layout.trajectories, *rows.shape[1:])
    return total.index_add(0, layout.trajectory_of_row.to(rows.device), rows)


def _group(guidance: Guidance) -> tuple[list[str], float]:
    """Return what guidances of one pullback have in common: branches, and the limit they share."""
    limit = torch.inf if guidance.limit is None else guidance.limit
    return sorted(set(guidance.branches)), limit


def _leaves(outputs: Outputs) -> Outputs:
    def leaf(value: Tensor) -> Tensor:
        return value.detach().requires_grad_()

    maps = outputs.maps
    return replace(
        outputs,
        sample=leaf(outputs.sample),
        noise=leaf(outputs.noise),
        maps=maps and replace(maps, values={s: leaf(v) for s, v in maps.values.items()}),
        features={name: leaf(value) for name, value in outputs.features.items()},
    )


def _observe(step: Step, leaves: Outputs) -> Observation:
    noise = step.combine(leaves)
    x0 = x0_from_noise(leaves.sample, noise, step.alpha)
    return Observation(leaves.sample, noise, x0, leaves.maps, leaves.features)


def _slopes(step: Step, guidance: Guidance, leaves: Outputs, observation: Observation) -> Slopes:
    """Return the gradients of one scaled energy; rows that it does not go through are zero."""
    maps = leaves.maps.values if leaves.maps else {}
    tensors = {
        _SAMPLE: leaves.sample,
        _NOISE: leaves.noise,
        **{("maps", site.name): value for site, value in maps.items()},
        **{("features", name): value for name, value in leaves.features.items()},
    }
    with torch.enable_grad():
        values = soundness.check_energy(step, guidance, guidance.energy(observation))
        total = guidance.scale * values.sum()
    # The graph is kept: further energies share the part from the leaves to noise and x0.
    found = torch.autograd.grad(total, list(tensors.values()), retain_graph=True, allow_unused=True)
    slopes = {key: value for key, value in zip(tensors, found, strict=True) if value is not None}
    soundness.check_slopes(step, guidance, slopes.values())
    shut = [i for i, row in enumerate(step.layout.rows) if row.half not in guidance.halves]
    closed = torch.tensor(shut, dtype=torch.int64, device=leaves.noise.device)
    return {
        key: value if key == _SAMPLE else value.index_fill(0, closed, 0)
        for key, value in slopes.items()
    }


def _add(parts: Iterable[Slopes]) -> Slopes:
    total: Slopes = {}
    for part in parts:
        for key, value in part.items():
            total[key] = total[key] + value if key in total else value
    return total


def _cotangents(slopes: Slopes) -> Cotangents:
    def of(kind: str) -> dict[str, Tensor]:
        return {name: value for (own, name), value in slopes.items() if own == kind}

    return Cotangents(slopes.get(_NOISE), of("maps"), of("features"))
