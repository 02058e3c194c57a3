"""From alignments, weights and windows to the two tensors of a cross-attention edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from underpaint.records import Window
from underpaint.tokens import Tokens

from underpaint_prompt_to_prompt.alignment import Alignment
from underpaint_prompt_to_prompt.words import find_if_there

Span = float | tuple[float, float]
Spans = Span | dict[str, Span]

DEFAULT = "default_"
"""Key of the window of all words that have none of their own."""


def as_window(span: Span) -> Window:
    """Return a span of the noise range as a window; a number is its end.

    Raises
    ------
    InvalidRequestError
        If it does not lie in [0, 1].
    """
    return Window(*span) if isinstance(span, tuple) else Window(0.0, span)


def word_windows(spans: Spans) -> dict[str, Window]:
    """Return the window of each word, and that of all others under "default_"."""
    by_word = spans if isinstance(spans, Mapping) else {DEFAULT: spans}
    return {DEFAULT: Window(), **{word: as_window(span) for word, span in by_word.items()}}


@dataclass(frozen=True, eq=False)
class CrossEdit:
    """What the target's cross maps become, for I images: ``alpha_t E R + (1 - alpha_t) A``.

    Attributes
    ----------
    mapper : M ``[I, L, L]``, with ``R = A_source M`` where a token is aligned.
    aligned : gamma ``[I, L]``, with ``R = A`` where it is not (eq. 6).
    weight : E ``[I, L]``, the equaliser (eq. 7).
    windows : the different windows of the words.
    member : bool ``[W, I, L]``, which token has which window.
    """

    mapper: Tensor
    aligned: Tensor
    weight: Tensor
    windows: tuple[Window, ...]
    member: Tensor

    @classmethod
    def of(
        cls,
        alignments: Sequence[Alignment],
        targets: Sequence[Tokens],
        weights: Mapping[str, float],
        windows: Mapping[str, Window],
    ) -> CrossEdit:
        """Prepare a run; words are looked up in each image's target prompt."""
        by_token = [_per_token(tokens, windows) for tokens in targets]
        distinct = tuple(dict.fromkeys(window for row in by_token for window in row))
        member = [[[w == own for own in row] for row in by_token] for w in distinct]
        return cls(
            mapper=torch.stack([a.mapper for a in alignments]),
            aligned=torch.stack([a.aligned for a in alignments]),
            weight=torch.stack([_equaliser(tokens, weights) for tokens in targets]),
            windows=distinct,
            member=torch.tensor(member),
        )

    def at(self, progress: float) -> tuple[Tensor, Tensor] | None:
        """Return P ``[I, L, L]`` and d ``[I, L]`` with ``A' = A_source P + A diag(d)``.

        None outside of all windows, where ``A' = A``.
        """
        active = torch.tensor([window.contains(progress) for window in self.windows])
        if not active.any():
            return None
        alpha = self.member[active].any(0).float()  # [I, L]
        source = alpha * self.weight * self.aligned  # [I, L]
        own = alpha * self.weight * (1 - self.aligned) + (1 - alpha)  # [I, L]
        return self.mapper * source[:, None, :], own


def _per_token(tokens: Tokens, windows: Mapping[str, Window]) -> list[Window]:
    row = [windows[DEFAULT]] * len(tokens.ids)
    for word, window in windows.items():
        if word != DEFAULT:
            for index in find_if_there(tokens, word):
                row[index] = window
    return row


def _equaliser(tokens: Tokens, weights: Mapping[str, float]) -> Tensor:
    row = torch.ones(len(tokens.ids))
    for word, weight in weights.items():
        row[list(find_if_there(tokens, word))] = weight
    return row
