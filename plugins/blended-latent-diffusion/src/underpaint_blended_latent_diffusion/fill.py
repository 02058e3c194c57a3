"""What the encoder sees where a picture is see-through.

Each latent cell depends on pixels around it. A picture laid on white would so leave white in the
cells along the mask's edge, which are background and stay as they were encoded.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-6


def fill_see_through(laid: Tensor, opacity: Tensor) -> Tensor:
    """Return the pictures on a ground that goes on with the colours around, smoothly.

    Opaque pixels stay as they are, to the bit.

    Parameters
    ----------
    laid : ``[I, 3, H, W]`` in [0, 1], the pictures laid on white.
    opacity : ``[I, 1, H, W]`` in [0, 1].
    """
    clear = 1 - opacity
    ground = _pull_push((laid - clear).clamp(min=0), opacity)  # colours times opacity
    return torch.where(clear > 0, (laid - clear + clear * ground).clamp(0, 1), laid)


def _pull_push(colours: Tensor, weights: Tensor) -> Tensor:
    """Interpolate weighted colours ``[I, 3, H, W]`` by means over ever larger squares."""
    own = colours / weights.clamp(min=EPSILON)
    if max(weights.shape[2:]) == 1:
        return own
    smaller = (F.avg_pool2d(each, 2, ceil_mode=True) for each in (colours, weights))
    around = F.interpolate(_pull_push(*smaller), weights.shape[2:], mode="bilinear")
    return weights * own + (1 - weights) * around
