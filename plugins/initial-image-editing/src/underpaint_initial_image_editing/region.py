"""The part of a picture that is to be painted again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from underpaint.errors import InvalidRequestError
from underpaint.preparation import Placement, prepare_mask
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
    def of(cls, mask: Box | Path | Image.Image, request: Request) -> Region:
        """Read a box or a mask, and snap it to the blocks of the word level.

        Raises
        ------
        InvalidRequestError
            For a mask that cannot be read, has another size, or marks nothing or everything; for
            one mask and several pictures that are placed differently.
        """
        size = (request.height, request.width)
        if isinstance(mask, tuple):
            pixels = mark_box("mask", mask, size)
        else:
            pixels = prepare_mask(mask, _placement(request))[0] >= 0.5
        side = 1 << request.model.sites.word_level
        touched = F.max_pool2d(pixels[None].float(), side * request.model.vae_factor)[0].bool()
        if not touched.any() or touched.all():
            raise InvalidRequestError(
                f"mask={_name(mask)} marks "
                f"{'everything: that is another seed' if touched.any() else 'nothing'}. "
                "Mark the part of the picture that is to be painted again, white on black."
            )
        return cls(pixels, touched.repeat_interleave(side, 0).repeat_interleave(side, 1))

    def crop(self, images: Tensor) -> Tensor:
        """Cut images ``[B, 3, H, W]`` down to the smallest box around the region."""
        rows, columns = (self.pixels.any(axis).nonzero().flatten() for axis in (1, 0))
        return images[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _name(mask: Box | Path | Image.Image) -> str:
    return f"{str(mask)!r}" if isinstance(mask, Path) else f"{mask}"


def _placement(request: Request) -> Placement:
    """Return how the call's picture lies in the frame; a generated one fills it."""
    size = (request.width, request.height)
    if request.image is None:
        return Placement.of(size, size, "crop")
    first, *others = request.image.placements
    if any((other.original, other.box) != (first.original, first.box) for other in others):
        raise InvalidRequestError(
            "mask is one, and the pictures have different sizes: edit them in calls of their own."
        )
    return first
