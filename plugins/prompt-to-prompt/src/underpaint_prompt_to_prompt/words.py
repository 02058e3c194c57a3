"""What distinguishes two prompts, word by word."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Literal

from underpaint.errors import InvalidRequestError, UnknownWordError
from underpaint.tokens import Span, Tokens

Edit = Literal["auto", "replace", "refine"]
Kind = Literal["replace", "refine"]

ARTICLES = frozenset({"a", "an", "the"})


def by_word(text: str) -> Tokens:
    """Return `text` with one token per word, to look for words before a tokenizer is at hand."""
    spans: list[Span] = []
    for word in Tokens(text, (), (), 0).words:
        start = text.index(word, spans[-1][1] if spans else 0)
        spans.append((start, start + len(word)))
    return Tokens(text, tuple(range(len(spans))), tuple(spans), len(spans))


def common(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Align two sequences globally and return the pairs (i, j) with ``a[i] == b[j]``.

    Needleman-Wunsch with gap 0, match +1 and mismatch -1. Where several alignments are equally
    long, the later of two equal items of `b` is the one taken for inserted.
    """
    score = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            diagonal = score[i][j] + (1 if x == y else -1)
            score[i + 1][j + 1] = max(score[i + 1][j], score[i][j + 1], diagonal)
    pairs = []
    i, j = len(a), len(b)
    while i and j:
        if score[i][j] == score[i][j - 1]:
            j -= 1
        elif score[i][j] == score[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


def edit_kind(edit: Edit, source: str, target: str) -> Kind:
    """Say whether `target` is made of `source` by swapping words or by changing their number.

    "auto" replaces when both have equally many words and no other alignment than position by
    position has more words in common.

    Raises
    ------
    InvalidRequestError
        For "replace" with prompts of unequally many words.
    """
    old, new = _folded(source), _folded(target)
    if edit == "replace" and len(old) != len(new):
        raise InvalidRequestError(
            f"edit='replace' swaps word for word, but {source!r} has {len(old)} words and "
            f"{target!r} has {len(new)}. Use edit='refine' (or 'auto')."
        )
    if edit == "auto":
        equal = sum(x == y for x, y in zip(old, new, strict=False))
        swapped = len(old) == len(new) and equal == len(common(old, new))
        return "replace" if swapped else "refine"
    return edit


def changed_words(kind: Kind, source: str, target: str) -> tuple[list[int], list[int]]:
    """Return the positions of the words of `source` that went and those of `target` that came.

    Articles count only where nothing else changed.
    """
    old, new = _folded(source), _folded(target)
    pairs = common(old, new)
    if kind == "replace":
        pairs = [(i, i) for i, (x, y) in enumerate(zip(old, new, strict=True)) if x == y]
    went = [i for i in range(len(old)) if i not in {i for i, _ in pairs}]
    came = [j for j in range(len(new)) if j not in {j for _, j in pairs}]
    heavy = [i for i in went if old[i] not in ARTICLES], [j for j in came if new[j] not in ARTICLES]
    return heavy if any(heavy) else (went, came)


def word_slots(tokens: Tokens) -> list[list[int]]:
    """Sort the tokens between BOS and EOS into 2n + 1 slots: gap, word, gap, ..., word, gap.

    Gaps hold the punctuation between the words and are mostly empty.
    """
    words = [span for span in by_word(tokens.text).spans if span]
    slots: list[list[int]] = [[] for _ in range(2 * len(words) + 1)]
    for index, span in enumerate(tokens.spans):
        if span is None:
            continue
        inside = [k for k, (start, end) in enumerate(words) if span[0] < end and start < span[1]]
        before = sum(end <= span[0] for _, end in words)
        slots[2 * inside[0] + 1 if inside else 2 * before].append(index)
    return slots


def find_if_there(tokens: Tokens, phrase: str) -> tuple[int, ...]:
    """Return the tokens of a phrase, none where the prompt lacks it."""
    try:
        return tokens.find(phrase)
    except UnknownWordError:
        return ()


def _folded(text: str) -> list[str]:
    return [word.casefold() for word in by_word(text).words]
