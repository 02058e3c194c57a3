"""Which words of two prompts differ, for captions and heat maps."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from underpaint.sheet import Word

LITTLE = frozenset(
    ("a", "an", "and", "at", "by", "for", "from", "in", "is", "it", "of", "on", "or", "the", "to")
)
"""Words without a place in the picture."""

_LETTERS = re.compile(r"\w+(?:['’-]\w+)*")


def mark_changes(source: str, target: str) -> tuple[list[Word], list[Word]]:
    """Return the words of both prompts, emphasised where they differ."""
    ours, theirs = source.split(), target.split()
    ours_folded, theirs_folded = source.casefold().split(), target.casefold().split()
    first, second = [True] * len(ours), [True] * len(theirs)
    matcher = SequenceMatcher(None, ours_folded, theirs_folded, autojunk=False)
    for block in matcher.get_matching_blocks():
        first[block.a : block.a + block.size] = [False] * block.size
        second[block.b : block.b + block.size] = [False] * block.size
    return list(zip(ours, first, strict=True)), list(zip(theirs, second, strict=True))


def mark_named(prompt: str, names: Collection[str]) -> list[Word]:
    """Return the words of a prompt, emphasised where `names` holds them."""
    keys = {name.casefold() for name in names}
    return [(word, _bare(word).casefold() in keys) for word in prompt.split()]


def emphasised(words: Sequence[Word], limit: int = 4) -> list[str]:
    """Return up to `limit` emphasised words, each once and without punctuation.

    Little words such as "the" only count where nothing else is emphasised.
    """
    bare = [_bare(word) for word, strong in words if strong]
    telling = [word for word in bare if word and word.casefold() not in LITTLE]
    return list(dict.fromkeys(telling or filter(None, bare)))[:limit]


def named_words(parameters: Mapping[str, Any], prompts: Collection[str]) -> set[str]:
    """Return the words that a method's parameters name, such as the keys of a re-weighting.

    What merely repeats one of the prompts names nothing.
    """
    texts = [text for value in parameters.values() for text in _texts(value)]
    return {word for text in texts if text not in prompts for word in _LETTERS.findall(text)}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _bare(word: str) -> str:
    match = _LETTERS.search(word)
    return match.group() if match else ""
