"""Directions in h-space: ``delta_h_t = f_t(h_t)``, as small fp32 modules."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from underpaint.errors import InvalidRequestError

Kind = Literal["conv", "constant"]

GROUPS, LEAST_CHANNELS = 32, 4
"""Of the normalisation. A group of one channel would take away what the timestep adds to it."""
WAVES = 64
"""Frequencies of the timestep's embedding."""
LEAST_START = 1e-3
"""Standard deviation of what a direction starts with: nearly nothing, but with a gradient."""


class ConvDirection(nn.Module):
    """The implicit function f_t (arXiv 2210.10960, section 4.2): one for all timesteps.

    ``conv1x1 -> + Linear(SiLU(embedding of t)) -> GroupNorm -> SiLU -> conv1x1``. The embedding of
    t is its own, so that no engine has to give out the UNet's.

    Parameters
    ----------
    channels : width C of h.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.embed = nn.Linear(2 * WAVES, channels)
        self.shift = nn.Linear(channels, channels)
        self.enter = nn.Conv2d(channels, channels, 1)
        self.norm = nn.GroupNorm(math.gcd(GROUPS, channels // LEAST_CHANNELS), channels, eps=1e-6)
        self.leave = nn.Conv2d(channels, channels, 1)
        for weight, spread in zip(self.leave.parameters(), (LEAST_START, 0.0), strict=True):
            nn.init.normal_(weight, std=spread)

    def forward(self, hidden: Tensor, t: int) -> Tensor:
        """Return the delta ``[B, C, h, w]`` of h ``[B, C, h, w]`` at timestep `t`."""
        time = self.shift(nn.functional.silu(self.embed(embed_time(t).to(hidden))))  # [C]
        inner = self.enter(hidden) + time[:, None, None]
        delta: Tensor = self.leave(nn.functional.silu(self.norm(inner)))
        return delta


class ConstantDirection(nn.Module):
    """The same delta for every picture: one for all timesteps, or one for each part of them.

    Parameters
    ----------
    channels : width C of h.
    buckets : equal parts of the noise range, each with a delta of its own.
    size : ``(h, w)`` for a delta of each place; ``(1, 1)`` for one of all.
    levels : number of training timesteps of the model.
    """

    def __init__(
        self, channels: int, buckets: int = 1, size: tuple[int, int] = (1, 1), levels: int = 1000
    ) -> None:
        super().__init__()
        self.levels = levels
        self.value = nn.Parameter(LEAST_START * torch.randn(buckets, channels, *size))

    def forward(self, hidden: Tensor, t: int) -> Tensor:
        """Return the delta ``[B, C, h, w]`` of h ``[B, C, h, w]`` at timestep `t`.

        Raises
        ------
        InvalidRequestError
            If the delta has a size that is not that of h.
        """
        value = self.value[t * len(self.value) // self.levels]
        own, given = tuple(value.shape[1:]), tuple(hidden.shape[2:])
        if own not in ((1, 1), given):
            raise InvalidRequestError(
                f"The attribute's delta was trained for h of {own[0]}x{own[1]}, this call's is "
                f"{given[0]}x{given[1]}. Use the height and width it was trained with."
            )
        return value.expand_as(hidden)


Direction = ConvDirection | ConstantDirection


def embed_time(t: int) -> Tensor:
    """Return sines and cosines of a timestep, ``[2 * WAVES]`` (arXiv 2006.11239)."""
    angles = t * torch.exp(-math.log(10_000) * torch.arange(WAVES) / WAVES)
    return torch.cat([angles.sin(), angles.cos()])
