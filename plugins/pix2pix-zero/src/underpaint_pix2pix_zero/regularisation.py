"""What keeps a predicted noise like noise (arXiv 2302.03027, section 3.1), in closed form.

An inverted latent that is no longer white noise edits badly. Two losses pull each prediction back:
pairs of pixels should not correlate (L_pair, at several sizes), and mean and variance should be 0
and 1 (L_KL). Both gradients are short formulas, so no autograd is needed and any engine will do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_SIDE = 8
"""The pyramid ends at maps of this side."""

LOG_EPSILON = 1e-7


def pyramid_levels(height: int, width: int) -> int:
    """Return the number of the pyramid's maps: halved while they are larger than 8 and even."""
    levels = 1
    while min(height, width) > LEAST_SIDE and not (height % 2 or width % 2):
        height, width, levels = height // 2, width // 2, levels + 1
    return levels


def correlation_gradient(noise: Tensor, shifts: Tensor) -> Tensor:
    """Return ``dL_pair/dnoise`` (eq. 2) for given shifts.

    ``L_pair`` sums, over channels, sizes and both axes, the square of ``m = mean(n roll_s(n))``;
    of one map of S pixels ``dm^2/dn = (2 m / S) (roll_s n + roll_-s n)``. Pooling by 2x2 pulls a
    gradient back as its quarter, copied to four places.

    Parameters
    ----------
    noise : ``[I, C, h, w]``.
    shifts : int64 ``[I, C, levels]``, one for each map of the pyramid.
    """
    maps = [noise]
    for _ in range(shifts.shape[2] - 1):
        maps.append(F.avg_pool2d(maps[-1], 2))
    gradient = torch.zeros_like(maps[-1])
    for level in reversed(range(len(maps))):
        if gradient.shape != maps[level].shape:
            gradient = F.interpolate(gradient, scale_factor=2, mode="nearest") / 4
        gradient = gradient + _correlation(maps[level], shifts[..., level])
    return gradient


def divergence_gradient(noise: Tensor) -> Tensor:
    """Return ``dL_KL/dnoise`` of ``var + mean^2 - 1 - log(var)``, of each image ``[I, C, h, w]``.

    ``(2 (e - mean) / (n - 1)) (1 - 1 / var) + 2 mean / n`` with the unbiased variance.
    """
    flat = noise.flatten(1)
    count, mean = flat.shape[1], flat.mean(1, keepdim=True)
    variance = flat.var(1, keepdim=True) + LOG_EPSILON
    spread = 2 * (flat - mean) / (count - 1) * (1 - 1 / variance)
    return (spread + 2 * mean / count).view_as(noise)


def regularise(
    noise: Tensor, shifts: Sequence[Sequence[Tensor]], correlation: float, divergence: float
) -> Tensor:
    """Go down both losses in turn, each gradient taken where the last step led.

    Parameters
    ----------
    noise : ``[I, C, h, w]``.
    shifts : for each repetition, the shifts of each of its steps down L_pair.
    correlation, divergence : the weights of both losses; L_pair's is shared by its steps.
    """
    for rolls in shifts:
        for each in rolls:
            noise = noise - correlation / len(rolls) * correlation_gradient(noise, each)
        noise = noise - divergence * divergence_gradient(noise)
    return noise


def _correlation(values: Tensor, shifts: Tensor) -> Tensor:
    gradient = torch.zeros_like(values)
    for axis in (2, 3):
        ahead = _roll(values, shifts, axis)
        mean = (values * ahead).mean((2, 3), keepdim=True)  # [I, C, 1, 1]
        pixels = values.shape[2] * values.shape[3]
        gradient += 2 * mean / pixels * (ahead + _roll(values, -shifts, axis))
    return gradient


def _roll(values: Tensor, shifts: Tensor, axis: int) -> Tensor:
    """Roll each channel of each image by a shift of its own, ``[I, C]``."""
    side = values.shape[axis]
    index = (torch.arange(side, device=values.device) - shifts[..., None]) % side  # [I, C, side]
    index = index[:, :, :, None] if axis == 2 else index[:, :, None, :]
    return values.gather(axis, index.expand(values.shape))
