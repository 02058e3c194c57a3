"""Pictures and masks made to fit the model's frame."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from underpaint.errors import InvalidRequestError
from underpaint.fit import Fit
from underpaint.pictures import Picture, open_picture, split_alpha, to_tensor

Size = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(frozen=True)
class Placement:
    """How a picture was made to fit.

    Attributes
    ----------
    original : (width, height) of the picture, upright.
    size : (width, height) of the model's frame.
    fit : ``crop`` cuts the longer side at its middle, ``letterbox`` pads the shorter one.
    box : (left, top, right, bottom): the part of the picture that is used, for ``crop``; the part
        of the frame that it fills, for ``letterbox``.
    notes : what else was done, e.g. turned upright, laid on white.
    """

    original: Size
    size: Size
    fit: Fit
    box: tuple[int, int, int, int]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, original: Size, size: Size, fit: Fit) -> Placement:
        """Place a picture of one size at the middle of a frame of another."""
        scales = [new / old for new, old in zip(size, original, strict=True)]
        if fit == "crop":
            box = _middle(original, size, 1 / max(scales))
        else:
            box = _middle(size, original, min(scales))
        scale = max(scales) if fit == "crop" else min(scales)
        soft = (f"enlarged {scale:.1f} times, so expect it to be soft",) if scale > 2 else ()
        return cls(original, size, fit, box, soft)

    def apply(
        self,
        image: Image.Image,
        padding: Any = 0,
        resample: Image.Resampling = Image.Resampling.LANCZOS,
    ) -> Image.Image:
        """Return an image of the original's size, placed; `padding` fills a letterbox."""
        if self.fit == "crop":
            return image.resize(self.size, resample, box=self.box)
        left, top, right, bottom = self.box
        inner = image.resize((right - left, bottom - top), resample)
        frame = Image.new(image.mode, self.size, padding)
        frame.paste(inner, (left, top))
        return frame

    def describe(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class PreparedImages:
    """The pictures of a call, in the model's frame.

    Attributes
    ----------
    pixels : ``[I, 3, H, W]`` fp32 in [0, 1]; I may be 1 and then serves every image.
    opacity : ``[I, 1, H, W]`` in [0, 1]; 1 where a picture has no alpha channel.
    placements : one per picture.
    """

    pixels: Tensor
    opacity: Tensor
    placements: tuple[Placement, ...]

    @property
    def digest(self) -> str:
        """A digest of the pixels."""
        return hashlib.sha256(self.pixels.numpy().tobytes()).hexdigest()

    def part(self, start: int, stop: int) -> PreparedImages:
        """Return the pictures of the images ``start ... stop-1``; one for all serves them too."""
        return self.take(range(start, stop))

    def take(self, images: Sequence[int]) -> PreparedImages:
        """Return the pictures of some images, in that order; one for all serves them too."""
        if len(self.pixels) == 1:
            return self
        chosen = list(images)
        placements = tuple(self.placements[image] for image in chosen)
        return PreparedImages(self.pixels[chosen], self.opacity[chosen], placements)


def prepare_images(pictures: Sequence[Picture], size: Size, fit: Fit = "crop") -> PreparedImages:
    """Return pictures in the model's frame.

    `size` is the frame's. ``crop`` cuts the longer side, ``letterbox`` pads the shorter one with
    the picture's mean colour.

    Raises
    ------
    InvalidRequestError
        For what is no picture, or is too small or too large; see `open_picture`.
    """
    parts = [_prepare(picture, size, fit) for picture in pictures]
    return PreparedImages(
        pixels=torch.stack([pixels for pixels, _, _ in parts]),
        opacity=torch.stack([opacity for _, opacity, _ in parts]),
        placements=tuple(placement for _, _, placement in parts),
    )


def prepare_mask(mask: Picture, placement: Placement, name: str = "mask") -> Tensor:
    """Return a mask ``[1, H, W]`` in [0, 1], placed as its picture: bright is 1.

    It has the size of the picture, or of the model's frame. What a letterbox adds is 0.

    Raises
    ------
    InvalidRequestError
        For another size; or what is no picture, see `open_picture`.
    """
    image, _ = open_picture(mask, name)
    grey = split_alpha(image)[0].convert("L")
    if grey.size == placement.original:
        return to_tensor(placement.apply(grey, resample=Image.Resampling.BOX))
    if grey.size == placement.size:
        return to_tensor(grey)
    raise InvalidRequestError(
        f"{name} has {grey.width}x{grey.height} pixels. Give it the size of the picture, "
        f"{'x'.join(map(str, placement.original))}, or of the model's frame, "
        f"{'x'.join(map(str, placement.size))}."
    )


def _prepare(picture: Picture, size: Size, fit: Fit) -> tuple[Tensor, Tensor, Placement]:
    image, opened = open_picture(picture)
    colours, alpha, laid = split_alpha(image)
    placement = Placement.of(image.size, size, fit)
    mean = np.asarray(colours).reshape(-1, 3).mean(0).round().astype(int)
    pixels = to_tensor(placement.apply(colours, tuple(mean.tolist())))
    opacity = to_tensor(placement.apply(alpha, 255))
    return pixels, opacity, replace(placement, notes=(*opened, *laid, *placement.notes))


def _middle(frame: Size, inner: Size, scale: float) -> tuple[int, int, int, int]:
    """Return the box of `inner`, scaled, at the middle of `frame`."""
    width, height = (
        min(side, max(1, round(part * scale))) for part, side in zip(inner, frame, strict=True)
    )
    left, top = (frame[0] - width) // 2, (frame[1] - height) // 2
    return left, top, left + width, top + height
