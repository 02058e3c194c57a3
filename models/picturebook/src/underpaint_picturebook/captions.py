"""Captions with the place of every object's words, and the pairs kept out of training."""

import random
import re
from dataclasses import dataclass, field

from underpaint_picturebook.backgrounds import BACKGROUNDS, GROUNDS
from underpaint_picturebook.styles import STYLE_WORDS

Span = tuple[int, int]
"""Character range [start, end) in a caption."""

HELD_OUT_COLOURS: frozenset[tuple[str, str]] = frozenset({
    ("cat", "green"), ("dog", "purple"), ("bus", "pink"), ("car", "brown"),
    ("house", "purple"), ("tree", "blue"), ("flower", "black"), ("fish", "brown"),
    ("boat", "pink"), ("star", "green"), ("heart", "orange"), ("ball", "white"),
    ("cake", "blue"), ("mushroom", "yellow"), ("umbrella", "red"), ("bird", "orange"),
})  # fmt: skip
"""(object, colour) pairs that no training scene shows, said or unsaid."""

HELD_OUT_PAIRS: frozenset[frozenset[str]] = frozenset(
    frozenset(pair)
    for pair in (
        ("cat", "boat"), ("dog", "umbrella"), ("bus", "fish"), ("car", "heart"),
        ("house", "ball"), ("tree", "cake"), ("flower", "star"), ("mushroom", "bird"),
    )
)  # fmt: skip
"""Pairs of objects that no training scene shows together."""

RELATIONS: dict[str, tuple[str, ...]] = {
    "left": (" and ", " and ", " next to ", " to the left of ", " to the left of "),
    "right": (" to the right of ",),
    "above": (" above ",),
    "below": (" below ", " under "),
}
"""Words between a first and a second object, by where the first lies from the second."""

STATED_RELATIONS = (" left of ", " right of ", " above ", " below ", " under ")
"""The words that say where one object lies from another; " and " and " next to " leave it open."""


@dataclass(frozen=True)
class ObjectWords:
    """How one object is spoken of; the spans point into the finished caption."""

    noun: Span
    colour: Span | None


@dataclass(frozen=True)
class Caption:
    """A caption and where its words stand: of each object in the scene's order, and the ground."""

    text: str
    words: tuple[ObjectWords, ...]
    ground: Span | None


@dataclass
class _Writer:
    text: str = ""
    nouns: dict[int, Span] = field(default_factory=dict)
    colours: dict[int, Span] = field(default_factory=dict)

    def add(self, text: str) -> Span:
        start = len(self.text)
        self.text += text
        return start, len(self.text)

    def mention(self, index: int, noun: str, colour: str, size: str) -> None:
        first = (size or colour or noun)[0]
        self.add("an " if first in "aeiou" else "a ")
        if size:
            self.add(size + " ")
        if colour:
            self.colours[index] = self.add(colour)
            self.add(" ")
        self.nouns[index] = self.add(noun)


@dataclass(frozen=True)
class Mention:
    """One object as the caption names it; an empty string leaves the word out."""

    noun: str
    colour: str = ""
    size: str = ""


def write(
    mentions: tuple[Mention, ...],
    *,
    relation: str,
    position: str,
    background: str,
    style: str,
    rng: random.Random,
) -> Caption:
    """Write the caption of a scene.

    `relation` says where the first object lies from the second ("left", "above") and may be
    told from the other side; `position` is that of a single object (" on the left").
    """
    order = list(range(len(mentions)))
    if len(order) == 2 and rng.random() < 0.25:
        order.reverse()
        relation = {"left": "right", "above": "below"}[relation]
    joint = rng.choice(RELATIONS[relation]) if len(order) == 2 else ", "
    writer = _Writer()
    writer.add(rng.choice(STYLE_WORDS[style]))
    for rank, index in enumerate(order):
        if rank:
            writer.add(" and " if len(order) > 2 and rank == len(order) - 1 else joint)
        mention = mentions[index]
        writer.mention(index, mention.noun, mention.colour, mention.size)
    writer.add(position)
    place = BACKGROUNDS[background].words
    ground = None
    if place[0]:
        start, _ = writer.add(" " + (place[0] if rng.random() < 0.75 else rng.choice(place)))
        ground = _ground(writer.text, start)
    words = tuple(ObjectWords(writer.nouns[i], writer.colours.get(i)) for i in range(len(order)))
    return Caption(writer.text, words, ground)


def _ground(text: str, start: int) -> Span | None:
    """Return where a word for the ground stands, from `start` on."""
    found = re.compile(rf"\b(?:{'|'.join(sorted(GROUNDS))})\b").search(text, start)
    return found.span() if found else None
