"""Texts that are true of a scene, from its whole truth down to a single word.

People and methods write "a red cat on grass", "a dog" or "night": every part of what is known may
be left out. Each text comes with the facts it states, so that a training batch knows which of its
texts hold of which of its pictures.
"""

import random
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from underpaint_picturebook import captions
from underpaint_picturebook.backgrounds import BACKGROUNDS, SIMPLE
from underpaint_picturebook.captions import HELD_OUT_COLOURS, STATED_RELATIONS, Mention
from underpaint_picturebook.objects import OBJECTS
from underpaint_picturebook.palette import COLOURS
from underpaint_picturebook.styles import STYLE_WORDS, STYLES

POSITIONS = (" on the left", " on the right", " in the middle")
OPENINGS = ("a photo of ", "an image of ", "a picture of ", "a drawing of ")
"""What people put before a text and means nothing here."""

Facts = frozenset[str]


@dataclass(frozen=True)
class Telling:
    """What is told of a scene; by default, nothing.

    `relation` is where each object lies from the next ("left", "above"), `position` that of a
    single one (" on the left").
    """

    mentions: tuple[Mention, ...]
    relation: str = ""
    position: str = ""
    background: str = "plain"
    style: str = "none"


@dataclass(frozen=True)
class Wording:
    """A text and the facts that it states."""

    text: str
    facts: Facts


def whole(truth: dict[str, Any]) -> Telling:
    """Return all that is known of a scene, given its truth as `data.truth_of` has it."""
    caption, objects = truth["caption"], truth["objects"]
    alone = len(objects) == 1
    size = next((word for word in ("small", "big") if alone and f" {word} " in caption), "")
    return Telling(
        mentions=tuple(Mention(item["name"], item["colour"], size) for item in objects),
        relation="left" if len(objects) == 3 else truth["relation"],
        position=next((words for words in POSITIONS if alone and words in caption), ""),
        background=truth["background"],
        style=truth["style"],
    )


def only(telling: Telling, index: int, *, background: bool) -> Telling:
    """Return what is left to tell where a mask hides all but one object, or the ground as well."""
    kept = replace(telling, mentions=(telling.mentions[index],), relation="", position="")
    return kept if background else replace(kept, background="plain")


def facts(telling: Telling) -> Facts:
    """Return everything that holds where a telling is true."""
    names = [mention.noun for mention in telling.mentions]
    found = {
        f"{word} {mention.noun}".strip()
        for mention in telling.mentions
        for word in ("", mention.colour, mention.size)
    }
    if telling.relation:
        found |= {
            f"{first} {telling.relation} {second}" for first, second in combinations(names, 2)
        }
    if telling.position:
        found |= {name + telling.position for name in names}
    found |= set(telling.background.split()) - {"plain", "in", "at"}
    return frozenset(found | {telling.style} - {"none"})


def lexicon() -> list[Telling]:
    """Return the shortest tellings: each object, in each colour too, each ground and each style.

    Pairs kept out of training are left out here as well: they would be learnt as always false.
    """
    pairs = [(noun, colour) for noun in OBJECTS for colour in ("", *COLOURS)]
    nouns = [Mention(*pair) for pair in pairs if pair not in HELD_OUT_COLOURS]
    return [
        *(Telling((mention,)) for mention in nouns),
        *(Telling((), background=name) for name in SIMPLE if name != "plain"),
        *(Telling((), style=name) for name in STYLES),
    ]


def shorten(telling: Telling, rng: random.Random) -> Telling:
    """Leave out details at random; something to tell remains."""
    mentions = telling.mentions
    bare = telling.background == "plain" and telling.style == "none"
    if rng.random() < 0.5:
        count = rng.randint(1 if bare or rng.random() < 0.8 else 0, len(mentions))
        picked = sorted(rng.sample(range(len(mentions)), count))
        mentions = tuple(mentions[index] for index in picked)
    kept = replace(
        telling,
        mentions=tuple(
            Mention(m.noun, _maybe(m.colour, rng, 0.7), _maybe(m.size, rng, 0.6)) for m in mentions
        ),
        relation=telling.relation if len(mentions) > 1 else "",
        position=_maybe(telling.position, rng, 0.5) if mentions else "",
    )
    if not mentions:
        return _scenery(kept, rng)
    return replace(
        kept,
        background=_part(telling.background, rng) if rng.random() < 0.6 else "plain",
        style=telling.style if rng.random() < 0.6 else "none",
    )


def write(telling: Telling, rng: random.Random) -> Wording:
    """Put a telling into words, one of many ways."""
    if not telling.mentions:
        return Wording(_alone(telling, rng), facts(telling))
    text = captions.write(
        telling.mentions,
        relation=telling.relation,
        position=telling.position,
        background=telling.background,
        style=telling.style,
        rng=rng,
    ).text
    stated = any(words in text for words in STATED_RELATIONS)
    said = telling if stated else replace(telling, relation="")
    return Wording(_opened(text, rng), facts(said))


def _maybe(word: str, rng: random.Random, chance: float) -> str:
    return word if rng.random() < chance else ""


def _part(background: str, rng: random.Random) -> str:
    """Return a background, or of a double one ("grass in snow") perhaps one half."""
    return rng.choice(_halves(background)) if rng.random() < 0.5 else background


def _halves(background: str) -> list[str]:
    return background.replace(" at ", " in ").split(" in ")


def _scenery(telling: Telling, rng: random.Random) -> Telling:
    """Keep the background alone, or the style alone."""
    places = [] if telling.background == "plain" else ["background"]
    styles = [] if telling.style == "none" else ["style"]
    if rng.choice(places + styles) == "style":
        return Telling((), style=telling.style)
    return Telling((), background=rng.choice(_halves(telling.background)))


def _alone(telling: Telling, rng: random.Random) -> str:
    """Return words for a background or a style without objects: "in the snow", "snow"."""
    if telling.style != "none":
        return rng.choice(STYLE_WORDS[telling.style]).removesuffix(" of ")
    words = rng.choice(BACKGROUNDS[telling.background].words).split()
    return " ".join(words[rng.randrange(len(words)) :])


def _opened(text: str, rng: random.Random) -> str:
    """Vary how a text begins: "a cat", "cat", "the cat", "a photo of a cat"."""
    way = rng.random()
    bare = text.removeprefix("a ").removeprefix("an ")
    if way < 0.1:
        return bare
    if way < 0.2:
        return f"the {bare}"
    return rng.choice(OPENINGS) + text if way < 0.35 else text
