"""Where a picture may change: from a file, a box or the picture's own transparency.

A mask is 1 where the picture is edited. There are several conventions for files, and nothing in a
file says which is meant, so what could be read in two ways is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageOps
from torch import Tensor
from underpaint.errors import InvalidRequestError
from underpaint.pictures import Picture, open_picture, split_alpha
from underpaint.preparation import PreparedImages, prepare_mask

if TYPE_CHECKING:
    from underpaint_blended_latent_diffusion.method import BlendedLatentDiffusion

Convention = Literal["white", "black", "transparent"]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, as fractions of the picture's width and height."""

_CONVENTIONS = (
    "convention='white' edits what is bright, as diffusers' inpainting does, 'black' what is dark, "
    "and 'transparent' what is see-through."
)


def read_mask(edit: BlendedLatentDiffusion, image: PreparedImages) -> Tensor:
    """Return where a call's pictures are edited, ``[1 or I, 1, H, W]`` in [0, 1].

    Raises
    ------
    InvalidRequestError
        If nothing, or more than one thing, says where; for a file that can be read in two ways or
        has another size than the picture; and for a mask that is empty.
    """
    given, see_through = _given(edit, image), bool((image.opacity < 1).any())
    if given is not None and see_through:
        name = "mask" if edit.box is None else "box"
        raise InvalidRequestError(
            f"Two things say where to edit: {name}=..., and the picture is see-through in places "
            f"(see-through is edited). Leave {name} out, or give the picture without transparency."
        )
    if given is None and not see_through:
        raise InvalidRequestError(
            f"{edit.method} edits inside of a mask, and nothing says where. Give mask='file', or "
            "box=(left, top, right, bottom) in fractions of the picture, or a picture that is "
            "see-through where it is to be edited."
        )
    mask = 1 - image.opacity if given is None else given
    mask = mask if edit.soft else (mask >= 0.5).float()
    if (mask.amax((1, 2, 3)) == 0).any():
        raise InvalidRequestError(
            f"The mask is empty: nothing would be edited{_hint(edit)}. What a cut to the model's "
            "frame takes away does not count; fit='letterbox' cuts nothing."
        )
    return mask


def _hint(edit: BlendedLatentDiffusion) -> str:
    if edit.mask is None:
        return ""
    return f" (convention: {edit.convention or 'white'}; {_CONVENTIONS})"


def _given(edit: BlendedLatentDiffusion, image: PreparedImages) -> Tensor | None:
    """Return the edit's own mask in the model's frame, for each picture, if it has one."""
    if edit.mask is not None:
        each = [grey_mask(edit.mask, edit.convention)] * len(image.placements)
    elif edit.box is not None:
        each = [_draw(edit.box, placement.original) for placement in image.placements]
    else:
        return None
    pairs = zip(each, image.placements, strict=True)
    return torch.stack([prepare_mask(grey, placement) for grey, placement in pairs])


def _draw(box: Box, size: tuple[int, int]) -> Image.Image:
    width, height = size
    left, top, right, bottom = (round(a * b) for a, b in zip(box, (width, height) * 2, strict=True))
    image = Image.new("L", size, 0)
    if left < right and top < bottom:
        ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), fill=255)
    return image


def grey_mask(mask: Picture, convention: Convention | None) -> Image.Image:
    """Return a mask in grey: bright is edited.

    Without a convention bright is edited, and a mask whose transparency says something else is
    refused.

    Raises
    ------
    InvalidRequestError
        For what is no picture, or can be read in two ways.
    """
    image, _ = open_picture(mask, "mask")
    colours, opacity, _ = split_alpha(image)
    bright, clear = colours.convert("L"), ImageOps.invert(opacity)
    by_name = {"white": bright, "black": ImageOps.invert(bright), "transparent": clear}
    if convention is not None:
        return by_name[convention]
    if clear.getextrema() != (0, 0) and not _agree(bright, clear):
        raise InvalidRequestError(
            "mask: what is bright in it and what is see-through in it are different places. Say "
            f"which is meant: {_CONVENTIONS}"
        )
    return bright


def _agree(first: Image.Image, second: Image.Image) -> bool:
    return bool(np.array_equal(np.asarray(first) >= 128, np.asarray(second) >= 128))
