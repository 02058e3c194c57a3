"""The part of a picture that is to be painted again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from underpaint.errors import InvalidRequestError
from underpaint.request import Request

from underpaint_initial_image_editing.boxes import Box, mark_box


@dataclass(frozen=True, eq=False)
class Region:
    """A region of the picture and of its noise.

    Attributes
    ----------
    pixels : the region as it was given, bool ``[H, W]``.
    cells : the latent cells of all blocks that it touches, bool ``[h, w]``.
    """

    pixels: Tensor
    cells: Tensor

    @classmethod
    def of(cls, mask: Box | Path, request: Request) -> Region:
        """Read a box or a mask file, and snap it to the blocks of the word level.

        Raises
        ------
        InvalidRequestError
            For a mask that cannot be read, has another size, or marks nothing or everything.
        """
        size = (request.height, request.width)
        pixels = mark_box("mask", mask, size) if isinstance(mask, tuple) else read_mask(mask, size)
        side = 1 << request.model.sites.word_level
        touched = F.max_pool2d(pixels[None].float(), side * request.model.vae_factor)[0].bool()
        if not touched.any() or touched.all():
            raise InvalidRequestError(
                f"mask={mask if isinstance(mask, tuple) else str(mask)!r} marks "
                f"{'everything: that is another seed' if touched.any() else 'nothing'}. "
                "Mark the part of the picture that is to be painted again, white on black."
            )
        return cls(pixels, touched.repeat_interleave(side, 0).repeat_interleave(side, 1))

    def crop(self, images: Tensor) -> Tensor:
        """Cut images ``[B, 3, H, W]`` down to the smallest box around the region."""
        rows, columns = (self.pixels.any(axis).nonzero().flatten() for axis in (1, 0))
        return images[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def read_mask(path: Path, size: tuple[int, int]) -> Tensor:
    """Return the light pixels of a picture, bool ``[H, W]``.

    Raises
    ------
    InvalidRequestError
        For a file that is no picture, or one of another size.
    """
    try:
        with Image.open(path) as picture:
            shades = np.asarray(picture.convert("L"))
    except (OSError, UnidentifiedImageError) as error:
        raise InvalidRequestError(f"mask: {path} cannot be read as a picture: {error}") from error
    if shades.shape != size:
        raise InvalidRequestError(
            f"mask: {path} is {shades.shape[1]}x{shades.shape[0]} pixels, the picture "
            f"{size[1]}x{size[0]}. Make the mask that large, white where to paint again."
        )
    return torch.from_numpy(shades >= 128)
