"""The objects of a prompt, and their tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from underpaint.tokens import Tokens

LITTLE = frozenset(
    [
        *("a", "an", "the", "this", "that", "some", "its", "his", "her", "and", "or", "is", "are"),
        *("of", "on", "in", "at", "by", "to", "for", "from", "with", "without", "next", "near"),
        *("left", "right", "middle", "top", "bottom", "above", "below", "under", "over", "behind"),
        *("beside", "between", "front"),
    ]
)
"""Words that name no object: they part a prompt into phrases."""


def objects(prompt: str) -> tuple[str, ...]:
    """Return what a prompt seems to name: the last word of each phrase between little words.

    >>> objects("a red cat to the left of a blue bus on grass")
    ('cat', 'bus', 'grass')
    """
    words = Tokens(prompt, (), (), 0).words
    followers = (*words[1:], "the")
    found = [
        word
        for word, following in zip(words, followers, strict=True)
        if word.casefold() not in LITTLE and following.casefold() in LITTLE
    ]
    return tuple(dict.fromkeys(found))


def places(
    tokens: Sequence[Tokens], word: str, occurrence: int | None = None
) -> list[tuple[int, ...]]:
    """Return the token indices of a word or phrase in each prompt.

    Raises
    ------
    UnknownWordError
        If a prompt lacks it; the message lists its words.
    """
    return [each.find(word, occurrence) for each in tokens]


def average(found: Sequence[tuple[int, ...]], length: int) -> Tensor:
    """Return weights ``[I, L]`` that average the maps of these tokens."""
    weights = torch.zeros(len(found), length)
    for row, indices in zip(weights, found, strict=True):
        row[list(indices)] = 1 / len(indices)
    return weights
