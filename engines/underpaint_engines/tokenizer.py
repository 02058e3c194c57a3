"""CLIP's tokenizer, with the place of every token in the prompt."""

from __future__ import annotations

from transformers import CLIPTokenizer
from underpaint.tokens import Span, Tokens


class PromptTokenizer:
    """Splits prompts into `Tokens`, as transformers' CLIPTokenizer does with truncation.

    Cutting and padding is done here: transformers keeps them as state of the shared tokenizer,
    which is then not safe to use from several threads.

    Parameters
    ----------
    tokenizer : of the checkpoint.
    length : the model's context length L.
    """

    def __init__(self, tokenizer: CLIPTokenizer, length: int) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_truncation()
        self._backend.no_padding()
        self._begin: int = tokenizer.bos_token_id
        self._end: int = tokenizer.eos_token_id
        self._pad: int = tokenizer.pad_token_id
        self._length = length

    def __call__(self, prompt: str) -> Tokens:
        """Split one prompt."""
        encoding = self._backend.encode(prompt, add_special_tokens=False)
        spans: list[Span] = encoding.offsets
        room = self._length - 2
        dropped = prompt[spans[room][0] :] if len(spans) > room else ""
        ids = [self._begin, *encoding.ids[:room], self._end]
        padding = self._length - len(ids)
        return Tokens(
            text=prompt,
            ids=(*ids, *[self._pad] * padding),
            spans=(None, *spans[:room], None, *[None] * padding),
            count=len(ids),
            dropped=dropped,
        )
