"""Pulling cotangents back through a compiled UNet: one run of its derivative's graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from underpaint.engine import UNetCall, UNetOutput

from underpaint_engines.derivative import cotangent_name, gradient_name
from underpaint_engines.readings import NOISE, feature_outputs, map_outputs
from underpaint_engines.sessions import Linear, Sessions


def pull_back(
    sessions: Sessions,
    linear: Linear,
    call: UNetCall,
    values: Mapping[str, Tensor],
    cotangents: UNetOutput,
) -> Tensor:
    """Return the gradient by the point of `linear`, ``[R, ...]`` fp32.

    The derivative is compiled for what has a cotangent: layers that only other readings need are
    not in it.

    Parameters
    ----------
    linear : the graph that was run for `call`.
    values : its inputs and residuals.
    """
    given = _by_output(call, cotangents)
    point = values[linear.point]
    if not given:
        return torch.zeros_like(point, dtype=torch.float32)
    scale = _loss_scale(given.values())
    scaled = {cotangent_name(output): value * scale for output, value in given.items()}
    session = sessions.gradient(linear, frozenset(given))
    gradient = session({**values, **scaled})[gradient_name(linear.point)]
    return gradient / scale


def _by_output(call: UNetCall, cotangents: UNetOutput) -> dict[str, Tensor]:
    """Return the cotangents by output. An energy that does not read the noise has zeros there."""
    maps, features = map_outputs(call), feature_outputs(call)
    return {
        **({NOISE: cotangents.noise} if cotangents.noise.any() else {}),
        **{maps[site]: value for site, value in cotangents.maps.items()},
        **{features[site]: value for site, value in cotangents.features.items()},
    }


def _loss_scale(cotangents: Iterable[Tensor]) -> Tensor:
    """Return a power of two that brings the greatest value near 1.

    A gradient is linear in its cotangents, and powers of two are exact: fp32 stays what it was,
    while fp16 would lose what lies below 6e-8.
    """
    greatest = torch.stack([value.detach().abs().amax() for value in cotangents]).amax().float()
    usual = torch.where(greatest.isfinite() & (greatest > 0), greatest, 1.0)
    return torch.exp2(-usual.log2().floor().clamp(-100, 100))
