"""What is refused before anything runs, and how far to guide on which model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from underpaint.engine import ModelInfo
from underpaint.errors import InvalidRequestError
from underpaint.request import Request

from underpaint_pix2pix_zero.direction import Direction
from underpaint_pix2pix_zero.sentences import fill, swap

if TYPE_CHECKING:
    from underpaint_pix2pix_zero.method import Pix2PixZero


def usual_guidance(model: ModelInfo) -> float:
    """Return the published step down the maps' difference; a v-prediction explodes beyond 0.01."""
    return 0.1 if model.noise.prediction_type == "epsilon" else 0.01


def check_parameters(edit: Pix2PixZero, request: Request) -> None:
    """Check an edit against a call.

    Raises
    ------
    InvalidRequestError, UnknownWordError, UnusableDirectionError
        For a direction that is not given, given twice, or does not fit the model or the prompts;
        and for official quirks along a followed path.
    """
    words = (edit.source_word, edit.target_word)
    if edit.direction is not None and (any(word is not None for word in words) or edit.templates):
        raise InvalidRequestError(
            "Pix2PixZero: give a direction's file, or source_word and target_word, not both."
        )
    if edit.direction is not None:
        Direction.load(Path(edit.direction)).check(edit.direction, request.model)
    elif edit.source_word and edit.target_word:
        for word in (edit.source_word, edit.target_word):
            fill(edit.templates, word)
        if not edit.templates:
            for prompt in request.prompts:
                swap(prompt, edit.source_word, edit.target_word)
    else:
        raise InvalidRequestError(
            "Pix2PixZero: there is no direction. Give source_word and target_word, e.g. 'cat' and "
            "'dog', or direction=FILE that `underpaint pix2pix-zero direction` wrote."
        )
    real = request.image is not None or request.trajectory is not None
    if edit.official_quirks and real and request.follow:
        raise InvalidRequestError(
            "Pix2PixZero: official_quirks compares the unconditional rows as well, and a picture's "
            "branch that follows its path has none. Pass follow=False (--no-follow)."
        )
