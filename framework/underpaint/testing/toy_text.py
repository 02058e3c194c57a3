"""The toy engine's tokenizer and text encoder: words by hash, no vocabulary file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from underpaint.tokens import Span, Tokens

BOS, EOS = 0, 1
LONG_WORD = 6
"""A longer word becomes two tokens, so that tests meet words of several tokens."""

WIDTH = 8
"""Width of the text embedding."""

_PIECE = re.compile(r"\w+|[^\w\s]")


def tokenize(text: str, length: int) -> Tokens:
    """Split `text` into words and punctuation, padded with EOS to `length` tokens."""
    spans = list(_spans(text))
    kept = spans[: length - 2]
    ids = [BOS, *(_word_id(text[start:end]) for start, end in kept), EOS]
    padding = length - len(ids)
    return Tokens(
        text=text,
        ids=(*ids, *[EOS] * padding),
        spans=(None, *kept, None, *[None] * padding),
        count=len(ids),
        dropped=text[spans[len(kept)][0] :] if len(kept) < len(spans) else "",
    )


def embed(tokens: Sequence[Tokens]) -> Tensor:
    """Return embeddings ``[B, L, d]``: a wave per token id and position, and the words so far."""
    ids = torch.tensor([t.ids for t in tokens], dtype=torch.float32)  # [B, L]
    channel = torch.arange(1, WIDTH + 1, dtype=torch.float32)
    place = torch.arange(ids.shape[1], dtype=torch.float32)
    words = torch.sin(ids[..., None] * channel)  # [B, L, d]
    so_far = words.cumsum(1) / (place + 1)[:, None]
    return words + 0.5 * so_far + 0.2 * torch.cos(place[:, None] / channel)


def _spans(text: str) -> Iterator[Span]:
    for match in _PIECE.finditer(text):
        start, end = match.span()
        if end - start > LONG_WORD:
            middle = (start + end) // 2
            yield start, middle
            start = middle
        yield start, end


def _word_id(word: str) -> int:
    digest = hashlib.blake2b(word.lower().encode(), digest_size=2).digest()
    return 2 + int.from_bytes(digest, "little")
