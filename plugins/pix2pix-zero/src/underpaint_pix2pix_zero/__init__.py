"""Pix2Pix-Zero (arXiv 2302.03027): edit directions, held by cross-attention guidance."""

from underpaint_pix2pix_zero.direction import Direction, DirectionFacts, UnusableDirectionError
from underpaint_pix2pix_zero.inversion import RegularisedInversion
from underpaint_pix2pix_zero.method import Pix2PixZero

__all__ = [
    "Direction",
    "DirectionFacts",
    "Pix2PixZero",
    "RegularisedInversion",
    "UnusableDirectionError",
]
