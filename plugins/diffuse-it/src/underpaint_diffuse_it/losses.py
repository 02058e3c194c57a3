"""The losses of DiffuseIT (arXiv 2209.15264, section 3), each one scalar per image ``[I]``.

The paper writes norms, the authors' code takes means of squares; these are the code's. Keys are
``[I, N, D]``: of the last block of a ViT, heads side by side, [CLS]'s own first.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SOURCE_SHARE, PICTURE_SHARE = 0.4, 0.2
"""How much of the source's text goes out of the direction of the text, and of its picture in."""


def self_similarity(keys: Tensor) -> Tensor:
    """Return the cosines of all pairs of an image's keys, ``[I, N, N]`` (equation 6)."""
    unit = F.normalize(keys, dim=-1)
    return unit @ unit.mT


def structure(keys: Tensor, source: Tensor) -> Tensor:
    """Return l_ssim, how far the self-similarities are apart (equation 6)."""
    return (self_similarity(keys) - self_similarity(source)).square().mean((1, 2))


def contrast(keys: Tensor, source: Tensor, temperature: float) -> Tensor:
    """Return l_cont: each key is to be nearest to the source's key of its place (equation 7).

    InfoNCE over cosines; the negatives are the source's keys of the other places.
    """
    cosines = F.normalize(keys, dim=-1) @ F.normalize(source, dim=-1).mT  # [I, N, N]
    right = F.log_softmax(cosines / temperature, -1).diagonal(dim1=1, dim2=2)
    return -right.mean(1)


def apart(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean square of a difference: l_sty, -l_sem (equations 9, 10) and of pixels."""
    return (first - second).square().flatten(1).mean(1)


def text_direction(target: Tensor, source: Tensor | None, picture: Tensor) -> Tensor:
    """Return where the text leads, unit ``[I, D]`` (equation 8).

    ``E_T(target) - 0.4 E_T(source) + 0.2 E_I(picture)``; None leaves the source's text out.
    """
    direction = target + PICTURE_SHARE * picture
    if source is not None:
        direction = direction - SOURCE_SHARE * source
    return F.normalize(direction, dim=-1)


def towards(features: Tensor, direction: Tensor) -> Tensor:
    """Return l_CLIP: minus the cosine of the mean of the views ``[V, I, D]`` and the direction."""
    return -F.cosine_similarity(features.mean(0), direction, dim=-1)


def out_of_range(images: Tensor) -> Tensor:
    """Return l_rng, how far values of images around [0, 1] lie outside of it, in [-1, 1] terms."""
    values = 2 * images - 1
    return apart(values, torch.clamp(values, -1, 1))
