"""Opening what users call a picture: a file, a Pillow image, an array, a tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from underpaint.errors import InvalidRequestError
from underpaint.records import check_finite

Picture = str | Path | Image.Image | NDArray[Any] | Tensor
"""A file, a Pillow image, an array ``[H, W]`` or ``[H, W, C]`` (uint8, or floats in [0, 1]), or a
tensor ``[C, H, W]`` in [0, 1]."""

LEAST_SIDE = 16
MOST_PIXELS = 50_000_000


def open_picture(picture: Picture, name: str = "image") -> tuple[Image.Image, list[str]]:
    """Return a Pillow image, upright, and what was done to get it.

    `name` is what messages call it.

    Raises
    ------
    InvalidRequestError
        For a file that is no picture, a picture too small or too large, or an array of another
        shape or range; the message says what to give.
    """
    image = _open(picture, name)
    width, height = image.size
    if min(width, height) < LEAST_SIDE or width * height > MOST_PIXELS:
        raise InvalidRequestError(
            f"{name} has {width}x{height} pixels: give at least {LEAST_SIDE} a side and at most "
            f"{MOST_PIXELS // 10**6} million in all. Scale it first."
        )
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append("the first of several frames")
    try:
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            notes.append("turned upright")
        return ImageOps.exif_transpose(image), notes
    except (OSError, ValueError, SyntaxError) as error:
        raise InvalidRequestError(f"{name} cannot be read to its end: {error}.") from error


def split_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image, list[str]]:
    """Return colours ("RGB"), opacity ("L"), and what was done.

    What is see-through is laid on white; 16 bits a channel become 8.
    """
    opaque = Image.new("L", image.size, 255)
    if image.mode.startswith("I"):
        values = np.asarray(image, dtype=np.float64) / 257  # 65535 -> 255
        grey = Image.fromarray(values.round().clip(0, 255).astype(np.uint8))
        return grey.convert("RGB"), opaque, ["16 bits a channel made 8"]
    if not image.has_transparency_data:
        return image.convert("RGB"), opaque, []
    layered = image.convert("RGBA")
    laid = Image.alpha_composite(Image.new("RGBA", image.size, "white"), layered)
    return laid.convert("RGB"), layered.getchannel("A"), ["what is see-through laid on white"]


def to_tensor(image: Image.Image) -> Tensor:
    """Return an 8-bit image as ``[C, H, W]`` fp32 in [0, 1]."""
    array = np.asarray(image, dtype=np.float32) / 255
    return torch.from_numpy(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1).contiguous()


def _open(picture: Picture, name: str) -> Image.Image:
    if isinstance(picture, Image.Image):
        return picture
    if isinstance(picture, (str, Path)):
        return _from_file(Path(picture), name)
    if isinstance(picture, Tensor):
        array = picture.detach().cpu().float()
        return _from_array((array.movedim(0, -1) if array.dim() == 3 else array).numpy(), name)
    if isinstance(picture, np.ndarray):
        return _from_array(picture, name)
    raise InvalidRequestError(
        f"{name} is {type(picture).__name__}: give a file, a Pillow image, an array or a tensor."
    )


def _from_file(path: Path, name: str) -> Image.Image:
    try:
        image = Image.open(path)
        if image.width * image.height <= MOST_PIXELS:  # a larger one is refused, never decoded
            image.load()
    except FileNotFoundError as error:
        raise InvalidRequestError(f"{name}: there is no file {path}.") from error
    except Image.DecompressionBombError as error:
        raise InvalidRequestError(f"{name}: {path} is too large. Scale it first.") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise InvalidRequestError(
            f"{name}: {path} is no picture that can be read ({error}). Give a PNG, JPEG or WebP."
        ) from error
    return image


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    if array.dtype != np.uint8:
        values = check_finite(name, torch.from_numpy(np.asarray(array, dtype=np.float32)))
        if values.numel() and (values.min() < 0 or values.max() > 1):
            raise InvalidRequestError(
                f"{name} holds values from {values.min():g} to {values.max():g}: "
                "give floats in [0, 1], or uint8."
            )
        array = (values * 255).round().to(torch.uint8).numpy()
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise InvalidRequestError(
            f"{name} has shape {array.shape}: give an array [H, W], [H, W, 3] or [H, W, 4], or a "
            "tensor [C, H, W]."
        )
    return Image.fromarray(array)
