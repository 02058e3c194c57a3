"""Boxes of words: checked, and brought to the places of a map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor
from underpaint.errors import InvalidRequestError, UnknownWordError
from underpaint.tokens import Tokens

Box = tuple[float, float, float, float]
"""Left, top, right, bottom as fractions of the picture, from its top left corner."""


def mark_boxes(boxes: Mapping[str, Box], grid: tuple[int, int]) -> Tensor:
    """Return the places of each box, bool ``[K, rows, columns]``; edges go to the nearest place.

    Raises
    ------
    InvalidRequestError
        For a box outside of the picture, one that holds no place, or two that overlap.
    """
    marked = {word: mark_box(f"boxes[{word!r}]", box, grid) for word, box in boxes.items()}
    for (first, a), (second, b) in combinations(marked.items(), 2):
        if bool((a & b).any()):
            raise InvalidRequestError(
                f"boxes: those of {first!r} and {second!r} overlap in {int((a & b).sum())} of "
                f"{a.numel()} places. A place can belong to one word: move or shrink one box."
            )
    return torch.stack([torch.zeros(grid, dtype=torch.bool), *marked.values()])[1:]


def mark_box(name: str, box: Box, grid: tuple[int, int]) -> Tensor:
    """Return the places of one box, bool ``[rows, columns]``.

    Raises
    ------
    InvalidRequestError
        For a box outside of the picture, or one that holds no place.
    """
    left, top, right, bottom = box
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise InvalidRequestError(
            f"{name}={box}: give (left, top, right, bottom) as fractions of the picture, with "
            "0 <= left < right <= 1 and 0 <= top < bottom <= 1, e.g. (0, 0.5, 0.5, 1)."
        )
    rows, columns = grid
    marked = torch.zeros(grid, dtype=torch.bool)
    high = slice(_nearest(top, rows), _nearest(bottom, rows))
    wide = slice(_nearest(left, columns), _nearest(right, columns))
    marked[high, wide] = True
    if not marked.any():
        raise InvalidRequestError(
            f"{name}={box} is smaller than one of the {columns}x{rows} places of the picture: "
            f"make it at least {1 / columns:.3f} wide and {1 / rows:.3f} high."
        )
    return marked


def find_words(words: Sequence[str], tokens: Tokens) -> list[tuple[int, ...]]:
    """Return the tokens of each word in a prompt.

    Raises
    ------
    UnknownWordError
        For a word that is not in the prompt; the message lists those that are.
    InvalidRequestError
        For two words that share a token.
    """
    found = [tokens.find(word) for word in words]
    for (first, a), (second, b) in combinations(zip(words, found, strict=True), 2):
        if set(a) & set(b):
            raise InvalidRequestError(
                f"boxes: {first!r} and {second!r} are the same word of {tokens.text!r}; "
                "give each word one box."
            )
    return found


def find_counterparts(words: Sequence[str], tokens: Tokens, other: Tokens) -> list[tuple[int, ...]]:
    """Return the tokens in `other` of each word of `tokens`, none where it has no counterpart.

    A word that the other prompt lacks stands for the one at its place, if both prompts have equally
    many words: where "a dog on grass" is drawn after "a cat on grass", the dog is where the cat is.
    """
    return [_find_counterpart(word, tokens, other) for word in words]


def _find_counterpart(phrase: str, tokens: Tokens, other: Tokens) -> tuple[int, ...]:
    try:
        return other.find(phrase)
    except UnknownWordError:
        if len(tokens.words) != len(other.words):
            return ()
    own = set(tokens.find(phrase))
    places = [k for k in range(len(tokens.words)) if own & set(_tokens_of_word(tokens, k))]
    return tuple(index for k in places for index in _tokens_of_word(other, k))


def _tokens_of_word(tokens: Tokens, number: int) -> tuple[int, ...]:
    before = [word.lower() for word in tokens.words[: number + 1]]
    return tokens.find(before[-1], before.count(before[-1]))


def _nearest(fraction: float, places: int) -> int:
    return math.floor(fraction * places + 0.5)
