"""Tokens of a prompt, and finding words and phrases among them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from underpaint.errors import InvalidRequestError, UnknownWordError, choices

Span = tuple[int, int]

_WORD = re.compile(r"\w+(?:['’-]\w+)*")


@dataclass(frozen=True)
class Tokens:
    """The tokens of one prompt, padded to the model's context length.

    Attributes
    ----------
    text : the prompt.
    ids : ``L`` token ids, with BOS, EOS and padding.
    spans : for each token its character span in `text`; None for BOS, EOS and padding.
    count : number of tokens before padding, BOS and EOS included.
    dropped : the end of the prompt that did not fit, empty if all of it did.
    """

    text: str
    ids: tuple[int, ...]
    spans: tuple[Span | None, ...]
    count: int
    dropped: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the prompt, in order, without punctuation."""
        return tuple(match.group() for match in _WORD.finditer(self.text))

    def find(self, phrase: str, occurrence: int | None = None) -> tuple[int, ...]:
        """Return the indices of the tokens of a word or phrase.

        Letter case, punctuation around it and the amount of white space do not matter; a word is
        matched whole ("cat" is not in "catalogue").

        Parameters
        ----------
        phrase : a word or several.
        occurrence : 1 for the first time it stands in the prompt, and so on; None takes all.

        Raises
        ------
        UnknownWordError
            If the phrase is not in the prompt or was cut off; the message lists the words.
        """
        places = self._places(phrase)
        if occurrence is not None:
            if not 1 <= occurrence <= len(places):
                raise UnknownWordError(
                    f"{phrase!r} stands {len(places)} times in {self.text!r}; "
                    f"occurrence {occurrence} does not exist."
                )
            places = [places[occurrence - 1]]
        found = tuple(i for i, span in enumerate(self.spans) if span and _overlaps(span, places))
        if not found:
            raise UnknownWordError(
                f"{phrase!r} was cut off: the prompt is longer than {len(self.ids)} tokens and "
                f"ends before {self.dropped!r}. Shorten the prompt."
            )
        return found

    def _places(self, phrase: str) -> list[Span]:
        words = _WORD.findall(phrase)
        if not words:
            raise InvalidRequestError(f"{phrase!r} holds no word. {self._listing(phrase)}")
        pattern = r"[\W_]+".join(map(re.escape, words))
        matches = re.finditer(rf"(?<!\w){pattern}(?!\w)", self.text, re.IGNORECASE)
        places = [match.span() for match in matches]
        if not places:
            raise UnknownWordError(
                f"{phrase!r} is not in the prompt {self.text!r}. {self._listing(phrase)}"
            )
        return places

    def _listing(self, asked: str) -> str:
        return choices(asked, self.words)


def _overlaps(span: Span, places: Iterable[Span]) -> bool:
    return any(span[0] < end and start < span[1] for start, end in places)
