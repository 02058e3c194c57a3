"""Poisson blending (Pérez et al. 2003), which OpenCV does: it needs the extra ``poisson``."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from underpaint.errors import NotOfferedError

Bytes = NDArray[np.uint8]
"""``[I, H, W, 3]``."""

BORDER = 2
"""Pixels that are added around: OpenCV cannot clone what reaches the picture's edge."""


def poisson_blend(images: Tensor, picture: Tensor, mask: Tensor) -> Tensor:
    """Return `picture` with the gradients of `images` where the mask is at least a half.

    All ``[I, 3, H, W]`` in [0, 1], the mask ``[I, 1, H, W]``; computed in 8 bits.

    Raises
    ------
    NotOfferedError
        If OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise NotOfferedError(
            "preserve='poisson' needs OpenCV: "
            "pip install 'underpaint-blended-latent-diffusion[poisson]'."
        ) from error
    blended = []
    for source, target, inside in zip(_framed(images), _framed(picture), mask, strict=True):
        area = np.pad(np.uint8(255) * (inside[0].cpu().numpy() >= 0.5), BORDER)
        left, top, width, height = cv2.boundingRect(area)
        centre = (left + width // 2, top + height // 2)  # keeps the source where it is
        cloned = cv2.seamlessClone(source, target, area, centre, cv2.NORMAL_CLONE)
        blended.append(cloned[BORDER:-BORDER, BORDER:-BORDER])
    result = torch.from_numpy(np.stack(blended)).permute(0, 3, 1, 2)
    return result.to(images) / 255


def _framed(images: Tensor) -> Bytes:
    values = np.round(images.permute(0, 2, 3, 1).cpu().numpy() * 255).astype(np.uint8)
    return np.pad(values, ((0, 0), (BORDER, BORDER), (BORDER, BORDER), (0, 0)), "edge")
