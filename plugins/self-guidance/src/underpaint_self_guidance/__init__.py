"""Diffusion Self-Guidance (arXiv 2306.00986): objects moved by energies on their attention."""

from underpaint_self_guidance.changes import AppearanceOf, Collage, LayoutOf, Move, Resize, Rotate
from underpaint_self_guidance.helpers import (
    appearance_of,
    collage,
    layout_of,
    move,
    resize,
    rotate,
)
from underpaint_self_guidance.method import SelfGuidance

__all__ = [
    "AppearanceOf",
    "Collage",
    "LayoutOf",
    "Move",
    "Resize",
    "Rotate",
    "SelfGuidance",
    "appearance_of",
    "collage",
    "layout_of",
    "move",
    "resize",
    "rotate",
]
