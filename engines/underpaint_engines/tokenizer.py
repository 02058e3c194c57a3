"""CLIP's tokenizer, with the place of every token in the prompt."""

from __future__ import annotations

from typing import NamedTuple

from tokenizers import Tokenizer
from underpaint.tokens import Span, Tokens


class SpecialTokens(NamedTuple):
    """The ids that open, close and fill up a prompt."""

    begin: int
    end: int
    pad: int


class PromptTokenizer:
    """Splits prompts into `Tokens`, as transformers' CLIPTokenizer does with truncation.

    Cutting and padding is done here: transformers keeps them as state of the shared tokenizer,
    which is then not safe to use from several threads.

    Parameters
    ----------
    tokenizer : of the checkpoint.
    special : its special tokens.
    length : the model's context length L.
    """

    def __init__(self, tokenizer: Tokenizer, special: SpecialTokens, length: int) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._special = special
        self._length = length

    def __call__(self, prompt: str) -> Tokens:
        """Split one prompt."""
        encoding = self._tokenizer.encode(prompt, add_special_tokens=False)
        spans: list[Span] = encoding.offsets
        room = self._length - 2
        dropped = prompt[spans[room][0] :] if len(spans) > room else ""
        ids = [self._special.begin, *encoding.ids[:room], self._special.end]
        padding = self._length - len(ids)
        return Tokens(
            text=prompt,
            ids=(*ids, *[self._special.pad] * padding),
            spans=(None, *spans[:room], None, *[None] * padding),
            count=len(ids),
            dropped=dropped,
        )
