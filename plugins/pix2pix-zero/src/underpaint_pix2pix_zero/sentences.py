"""Sentences about a word: templates that are filled, in place of a language model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

from underpaint.errors import InvalidRequestError, UnknownWordError

BLANK = "..."
"""What a template has in the word's place."""

_SUBJECTS = ("a ...", "a small ...", "a big ...", "a red ...", "a blue ...", "a white ...")
_PLACES = ("", " on grass", " in the snow", " on the beach", " at night", " on the water")

TEMPLATES = tuple(f"{subject}{place}" for place, subject in product(_PLACES, _SUBJECTS))
"""The sentences of a bank that no others are given for."""


def swap(text: str, word: str, other: str) -> str:
    """Return `text` with `other` in place of every `word`, and the article that belongs to it.

    Raises
    ------
    UnknownWordError
        If `word` does not stand in `text`.
    """
    swapped, count = _exchange(text, rf"{re.escape(word)}(?!\w)", other)
    if not count:
        raise UnknownWordError(
            f"{word!r} does not stand in {text!r}. Give a word of it, or a direction from other "
            "sentences: direction=FILE, or templates with ... in the word's place."
        )
    return swapped


def fill(templates: Iterable[str], word: str) -> tuple[str, ...]:
    """Return each template with `word` in place of its dots.

    Raises
    ------
    InvalidRequestError
        For a template without dots, or no word.
    """
    if not word.strip():
        raise InvalidRequestError("The word of a direction is empty: give e.g. cat.")
    chosen = tuple(templates)
    for template in chosen:
        if BLANK not in template:
            raise InvalidRequestError(
                f"Template {template!r} has no {BLANK} for the word, as 'a {BLANK} on grass' has."
            )
    return tuple(_exchange(template, re.escape(BLANK), word.strip())[0] for template in chosen)


def read_sentences(path: Path) -> Sequence[str]:
    """Read a text file of one sentence a line; empty lines do not count.

    Raises
    ------
    InvalidRequestError
        If it cannot be read, or holds no sentence.
    """
    try:
        lines = path.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequestError(
            f"{path} cannot be read ({error}). Give a text file of one sentence a line."
        ) from error
    sentences = [line.strip() for line in lines if line.strip()]
    if not sentences:
        raise InvalidRequestError(f"{path} holds no sentence. Give one a line.")
    return sentences


def _exchange(text: str, pattern: str, other: str) -> tuple[str, int]:
    def exchange(found: re.Match[str]) -> str:
        if not found[1]:
            return other
        article = "an" if other[:1].lower() in tuple("aeiou") else "a"
        return (article.capitalize() if found[1][0] == "A" else article) + found[2] + other

    return re.subn(rf"(?<!\w)(?:(an?)(\s+))?{pattern}", exchange, text, flags=re.IGNORECASE)
