"""Styles: what the whole picture is made to look like, as functions of a finished render.

Each takes the picture, uint8 [256, 256, 3], and the id map, uint8 [256, 256], and returns both,
since watercolour and pixel art move edges.
"""

import random
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from underpaint_picturebook.backgrounds import SIDE

Pixels = NDArray[np.uint8]
Style = Callable[[Pixels, Pixels, random.Random], tuple[Pixels, Pixels]]

BLOCK = 8
"""Side of a pixel-art block: one latent cell, so that the autoencoder can keep it sharp."""

_PAPER = np.array([250.0, 248.0, 242.0])


def _grey(image: Pixels) -> NDArray[np.float32]:
    return image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)


def sketch(image: Pixels, ids: Pixels, rng: random.Random) -> tuple[Pixels, Pixels]:
    """Return a pencil sketch: dark edges, hatched tone and a breath of colour on paper."""
    del rng
    edges = np.asarray(
        Image.fromarray(image).filter(ImageFilter.GaussianBlur(0.8)), dtype=np.float32
    )
    steps = np.abs(np.diff(edges, axis=0, prepend=edges[:1])) + np.abs(
        np.diff(edges, axis=1, prepend=edges[:, :1])
    )
    line = np.clip(steps.max(axis=2) / 60.0, 0.0, 1.0)[..., None]
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    hatch = (np.sin((rows + columns) * np.pi * 2 / BLOCK) > 0.2).astype(np.float32)
    tone = (hatch * (1.0 - _grey(image) / 255.0) * 0.22)[..., None]
    tint = np.where(ids[..., None] > 0, 0.5, 0.12)
    wash = _PAPER * (1 - tint) + image * tint
    drawn = wash * (1 - tone) * (1 - 0.85 * line)
    return drawn.clip(0, 255).astype(np.uint8), ids


def _smooth_noise(rng: random.Random, cells: int) -> NDArray[np.float32]:
    coarse = np.array([rng.uniform(0, 255) for _ in range(cells * cells)], dtype=np.float32)
    grid = Image.fromarray(coarse.reshape(cells, cells))
    fine = grid.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(fine, dtype=np.float32) / 127.5 - 1.0


def watercolour(image: Pixels, ids: Pixels, rng: random.Random) -> tuple[Pixels, Pixels]:
    """Return a watercolour: wavering edges, soft light colours, uneven pigment."""
    dy, dx = (_smooth_noise(rng, 20) * 4.0 for _ in range(2))
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    where = (
        (rows + dy).round().clip(0, SIDE - 1).astype(np.intp),
        (columns + dx).round().clip(0, SIDE - 1).astype(np.intp),
    )
    moved = Image.fromarray(image[where])
    soft = np.asarray(moved.filter(ImageFilter.GaussianBlur(1.6)), dtype=np.float32)
    pigment = 0.74 + 0.16 * _smooth_noise(rng, 10)[..., None]
    washed = _PAPER * (1 - pigment) + soft * pigment
    return washed.clip(0, 255).astype(np.uint8), ids[where]


def pixel_art(image: Pixels, ids: Pixels, rng: random.Random) -> tuple[Pixels, Pixels]:
    """Return pixel art: blocks of 8 pixels, colours rounded to steps of 16."""
    del rng
    cells = image.reshape(SIDE // BLOCK, BLOCK, SIDE // BLOCK, BLOCK, 3).mean(axis=(1, 3))
    cells = ((cells / 16).round() * 16).clip(0, 255)
    middle = ids[BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK]
    return _enlarge(cells.astype(np.uint8)), _enlarge(middle)


def _enlarge(cells: Pixels) -> Pixels:
    return cells.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)


STYLES: dict[str, Style] = {
    "sketch": sketch,
    "watercolour": watercolour,
    "pixel art": pixel_art,
}
STYLE_WORDS: dict[str, tuple[str, ...]] = {
    "none": ("",) * 11 + ("a picture of ",),
    "sketch": ("a pencil sketch of ", "a sketch of "),
    "watercolour": ("a watercolour of ", "a watercolour painting of "),
    "pixel art": ("pixel art of ", "a pixel art picture of "),
}
