"""What is refused before anything runs, with messages that say what to do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from underpaint.errors import InvalidRequestError, UnknownWordError
from underpaint.tokens import Tokens

from underpaint_prompt_to_prompt.blend import LocalBlend
from underpaint_prompt_to_prompt.cross import DEFAULT, as_window, word_windows
from underpaint_prompt_to_prompt.words import by_word, changed_words, edit_kind, find_if_there

if TYPE_CHECKING:
    from underpaint_prompt_to_prompt.method import PromptToPrompt


def check_parameters(edit: PromptToPrompt, prompts: Sequence[str]) -> None:
    """Check an edit against all prompts of a request, by their words alone.

    Raises
    ------
    InvalidRequestError, UnknownWordError
        For a value or a word that cannot be used.
    """
    if not edit.source.strip():
        raise InvalidRequestError(
            "PromptToPrompt(source=...) is empty: give the prompt of the image to start from, "
            "e.g. source='a cat on grass' for the prompt 'a dog on grass'."
        )
    as_window(edit.self_replace)
    words = set(word_windows(edit.cross_replace)) - {DEFAULT}
    _check_words("cross_replace", words, prompts, edit.source)
    _check_words("reweight", edit.reweight, prompts, edit.source)
    for word, weight in edit.reweight.items():
        if not math.isfinite(weight):
            raise InvalidRequestError(f"reweight: {word!r} has weight {weight}; give e.g. 2 or 0.")
    for prompt in prompts:
        edit_kind(edit.edit, edit.source, prompt)
    if edit.blend is not None:
        _check_blend(edit, edit.blend, prompts)


def check_length(tokens: Iterable[Tokens]) -> None:
    """Refuse a prompt whose end the model does not see: its words could not be aligned.

    Raises
    ------
    InvalidRequestError
        Naming the end that was cut off.
    """
    for one in tokens:
        if one.dropped:
            raise InvalidRequestError(
                f"{one.text!r} has more than {len(one.ids)} tokens and ends before "
                f"{one.dropped!r}; Prompt-to-Prompt cannot align what is cut off. Shorten it."
            )


def _check_blend(edit: PromptToPrompt, blend: LocalBlend, prompts: Sequence[str]) -> None:
    for name in ("threshold", "subtract_threshold", "start"):
        value = getattr(blend, name)
        if not 0 <= value <= 1:
            raise InvalidRequestError(f"blend: {name}={value}; give a number from 0 to 1.")
    _check_words("blend.words", blend.words, prompts, edit.source)
    _check_words("blend.source_words", blend.source_words, [edit.source])
    _check_words("blend.subtract", blend.subtract, [*prompts, edit.source])
    for prompt in prompts:
        if blend.words:
            named = any(find_if_there(by_word(prompt), word) for word in blend.words)
        else:
            kind = edit_kind(edit.edit, edit.source, prompt)
            named = bool(edit.reweight) or any(changed_words(kind, edit.source, prompt))
        if not named:
            raise InvalidRequestError(
                f"blend: no word says where {prompt!r} may change. "
                "Name one, e.g. blend=LocalBlend(words=('dog',))."
            )


def _check_words(
    name: str, words: Iterable[str], prompts: Sequence[str], source: str | None = None
) -> None:
    """Refuse a word that none of the prompts has."""
    for word in words:
        if any(find_if_there(by_word(prompt), word) for prompt in prompts):
            continue
        try:
            by_word(prompts[0]).find(word)
        except UnknownWordError as error:
            hint = ""
            if source is not None and find_if_there(by_word(source), word):
                hint = " It is a word of the source; words of the edit's own prompt are meant."
            raise UnknownWordError(f"{name}: {error}{hint}") from None
