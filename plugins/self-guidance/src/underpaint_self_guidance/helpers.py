"""Changes in words: ``move("cat", right=0.2)``."""

from __future__ import annotations

from pathlib import Path

from underpaint_self_guidance.changes import AppearanceOf, Collage, LayoutOf, Move, Resize, Rotate
from underpaint_self_guidance.placement import Point


def move(
    word: str,
    *,
    right: float = 0.0,
    left: float = 0.0,
    down: float = 0.0,
    up: float = 0.0,
    to: Point | None = None,
    occurrence: int | None = None,
) -> Move:
    """Move an object by parts of the picture, or `to` a place: x and y of its centre, 0 to 1."""
    return Move(word=word, right=right, left=left, down=down, up=up, to=to, occurrence=occurrence)


def resize(word: str, factor: float, *, occurrence: int | None = None) -> Resize:
    """Make an object's width and height `factor` times as large."""
    return Resize(word=word, factor=factor, occurrence=occurrence)


def rotate(word: str, degrees: float, *, occurrence: int | None = None) -> Rotate:
    """Turn an object clockwise."""
    return Rotate(word=word, degrees=degrees, occurrence=occurrence)


def appearance_of(
    word: str,
    *,
    image: str | Path | None = None,
    prompt: str | None = None,
    like: str | None = None,
    seed: int | None = None,
) -> AppearanceOf:
    """Give an object the look of `like` in another picture: a file, or a generated one."""
    return AppearanceOf.model_validate(
        {"word": word, "image": image, "prompt": prompt, "like": like, "seed": seed}
    )


def layout_of(
    word: str,
    *,
    image: str | Path | None = None,
    prompt: str | None = None,
    like: str | None = None,
    seed: int | None = None,
) -> LayoutOf:
    """Give an object the place and outline of `like` in another picture."""
    return LayoutOf.model_validate(
        {"word": word, "image": image, "prompt": prompt, "like": like, "seed": seed}
    )


def collage(
    word: str,
    *,
    image: str | Path | None = None,
    prompt: str | None = None,
    like: str | None = None,
    seed: int | None = None,
) -> Collage:
    """Take an object's place, outline and look from another picture."""
    return Collage.model_validate(
        {"word": word, "image": image, "prompt": prompt, "like": like, "seed": seed}
    )
