"""From energies to one gradient: energies -> cotangents -> one pullback."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from underpaint.errors import PluginError
from underpaint.layout import Layout
from underpaint.maps import AttentionMaps
from underpaint.outputs import Cotangents, Outputs
from underpaint.records import Guidance, Observation
from underpaint.schedule import x0_from_noise
from underpaint.step import Step


def descend(step: Step, guidances: Sequence[Guidance]) -> tuple[Outputs, Tensor]:
    """Return the outputs at the step's latents and the gradient of ``sum scale * energy``.

    The gradient is with respect to the latents, ``[T, C, h, w]``: through the UNet (one pullback)
    and through the direct path from the latent to x0. Energies see only small leaf tensors, so
    they run in plain autograd whatever engine computes the pullback.
    """
    outputs, pullback = step.linearize()
    with torch.enable_grad():
        sample = outputs.sample.detach().requires_grad_()
        leaves = _leaves(outputs)
        observation = _observe(step, sample, leaves)
        total = torch.stack([g.scale * _energy(g, observation) for g in guidances]).sum()
    tensors = [sample, leaves.noise, *_values(leaves.maps), *leaves.features.values()]
    gradients = torch.autograd.grad(total, tensors, allow_unused=True)
    direct, noise, *rest = gradients
    names = [site.name for site in leaves.maps.values] if leaves.maps else []
    cotangents = Cotangents(
        noise,
        _present(names, rest[: len(names)]),
        _present(list(leaves.features), rest[len(names) :]),
    )
    gradient = sum_rows(pullback(cotangents), outputs.layout)
    return outputs, gradient if direct is None else gradient + direct


def sum_rows(rows: Tensor, layout: Layout) -> Tensor:
    """Add up the gradients of the rows of each trajectory: ``[R, ...]`` -> ``[T, ...]``."""
    total = rows.new_zeros(layout.trajectories, *rows.shape[1:])
    return total.index_add(0, layout.trajectory_of_row.to(rows.device), rows)


def _leaves(outputs: Outputs) -> Outputs:
    def leaf(value: Tensor) -> Tensor:
        return value.detach().requires_grad_()

    maps = outputs.maps
    return replace(
        outputs,
        noise=leaf(outputs.noise),
        maps=maps and replace(maps, values={s: leaf(v) for s, v in maps.values.items()}),
        features={name: leaf(value) for name, value in outputs.features.items()},
    )


def _observe(step: Step, sample: Tensor, leaves: Outputs) -> Observation:
    noise = step.combine(leaves)
    x0 = x0_from_noise(sample, noise, step.alpha)
    return Observation(sample, noise, x0, leaves.maps, leaves.features)


def _energy(guidance: Guidance, observation: Observation) -> Tensor:
    value = guidance.energy(observation)
    if value.dim() != 1 or not value.requires_grad:
        raise PluginError(
            f"An energy returned shape {tuple(value.shape)}"
            f"{'' if value.requires_grad else ' without a gradient'}; it must return one "
            "differentiable scalar per image, shape [I]."
        )
    return value.sum()


def _values(maps: AttentionMaps | None) -> list[Tensor]:
    return list(maps.values.values()) if maps else []


def _present(names: list[str], gradients: Sequence[Tensor | None]) -> dict[str, Tensor]:
    pairs = zip(names, gradients, strict=True)
    return {name: value for name, value in pairs if value is not None}
