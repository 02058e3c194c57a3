"""Which source token each target token takes its attention map from (arXiv 2208.01626, sec. 3.2).

Both prompts have L tokens: BOS, the prompt's own, EOS, padding. The padding carries attention
like any other token, so it is mapped too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from underpaint.errors import InvalidRequestError
from underpaint.tokens import Tokens

from underpaint_prompt_to_prompt.words import Kind, common, word_slots


@dataclass(frozen=True, eq=False)
class Alignment:
    """The token mapper of one source and target prompt.

    Attributes
    ----------
    mapper : M ``[L, L]``; ``(A_source M)[:, j]`` is the map that target token j takes.
    aligned : gamma ``[L]``; 1 where j has a counterpart, 0 where it keeps its own map.
    """

    mapper: Tensor
    aligned: Tensor


def align(kind: Kind, source: Tokens, target: Tokens) -> Alignment:
    """Align two prompts for a word swap or a prompt refinement."""
    mapper = torch.zeros(len(source.ids), len(target.ids))  # [L, L]
    _connect(mapper, [0], [0])
    (_align_words if kind == "replace" else _align_tokens)(mapper, source, target)
    _connect(mapper, [source.count - 1], [target.count - 1])  # EOS
    padding = range(max(source.count, target.count), len(target.ids))  # where both pad
    _connect(mapper, padding, padding)
    return Alignment(mapper, (mapper.sum(0) > 0).float())


def _align_words(mapper: Tensor, source: Tokens, target: Tokens) -> None:
    """Word swap (eq. 5): the n-th word of the target takes the map of the source's n-th."""
    for old, new in zip(word_slots(source), word_slots(target), strict=True):
        _connect(mapper, old, new)


def _align_tokens(mapper: Tensor, source: Tokens, target: Tokens) -> None:
    """Prompt refinement (eq. 6): tokens in common, A(j) of the paper, keep the source's map."""
    own, other = source.ids[1 : source.count - 1], target.ids[1 : target.count - 1]
    for i, j in common(own, other):
        mapper[i + 1, j + 1] = 1


def _connect(mapper: Tensor, old: Sequence[int], new: Sequence[int]) -> None:
    """Hand the maps of the tokens `old` to `new`: one to one, or all of them spread evenly."""
    if len(old) == len(new):
        mapper[list(old), list(new)] = 1
    elif old and new:
        mapper[torch.tensor(old)[:, None], torch.tensor(new)] = 1 / len(new)


def official_align(kind: Kind, source: Tokens, target: Tokens) -> Alignment:
    """Align as the published code does, mistakes included.

    After the last swapped word every token takes the map of the *same position*, which is another
    word if the swapped ones have unequally many tokens. A refined prompt's padding does too, even
    where the source still has words.

    Raises
    ------
    InvalidRequestError
        For a word swap whose prompts do not split at single spaces into equally many words.
    """
    length = len(target.ids)
    tail = torch.arange(target.count, length)
    if kind == "refine":
        mapper = align(kind, source, target).mapper
        mapper[:, tail] = torch.eye(length)[:, tail]
        return Alignment(mapper, (mapper.sum(0) > 0).float())
    mapper = torch.zeros(length, length)
    i = j = 0
    for old, new in _swaps(source, target):
        _connect(mapper, range(i, old[0]), range(j, new[0]))
        _connect(mapper, old, new)
        i, j = old[-1] + 1, new[-1] + 1
    tail = torch.arange(j, length - max(i - j, 0))
    mapper[tail, tail] = 1
    return Alignment(mapper, torch.ones(length))


def _swaps(source: Tokens, target: Tokens) -> list[tuple[list[int], list[int]]]:
    """Return the tokens of each pair of words that differ, words being what single spaces part."""
    old, new = source.text.split(" "), target.text.split(" ")
    if len(old) != len(new) or "" in (*old, *new):
        raise InvalidRequestError(
            f"official_quirks splits prompts at single spaces, which gives {old} and {new}: "
            "no word for word swap. Mend the spaces or leave official_quirks out."
        )
    return [
        (_spaced_word(source, k), _spaced_word(target, k))
        for k in range(len(old))
        if old[k] != new[k]
    ]


def _spaced_word(tokens: Tokens, number: int) -> list[int]:
    words = tokens.text.split(" ")
    start = sum(len(word) + 1 for word in words[:number])
    end = start + len(words[number])
    return [k for k, s in enumerate(tokens.spans) if s and s[0] < end and start < s[1]]
