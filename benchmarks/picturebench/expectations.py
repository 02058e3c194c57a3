"""Success, counted: what the expected scene says, and whether the judge sees it.

Every claim is about what the edit changes (`edited`) or about what it must leave alone (`kept`).
Colour, position and size are claimed of objects that are seen; that one is missing counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from underpaint_picturebook.judge import Found, Verdict

from benchmarks.picturebench.edit_types import EditType
from benchmarks.picturebench.items import Truth
from benchmarks.picturebench.scenes import Mask, Thing

ASPECTS = ("object", "colour", "position", "size", "background", "style")

PLACE_TOLERANCE = 0.1
"""How far an object's centre may be from the expected one, as a part of the picture's side: edits
move it by 0.22 or more, so that this is just under half of the way."""

SIZE_FACTOR = 1.4
"""How much larger or smaller an object's area may be than expected: between two size words, the
area changes by 2.0 or 2.1, so that this is about half of the way."""


@dataclass(frozen=True)
class Claim:
    """One thing that should be seen."""

    aspect: str
    changed: bool
    holds: Callable[[Verdict], bool | None]
    """None where the object is not seen that it is about."""


@dataclass(frozen=True)
class Outcome:
    """What the judge sees of an item's claims.

    Attributes
    ----------
    edited, kept : whether all claims hold about what changes, and about what stays.
    aspects : the same by aspect; None where nothing could be said.
    """

    edited: bool
    kept: bool
    aspects: dict[str, bool | None]

    @property
    def success(self) -> bool:
        """Whether all holds."""
        return self.edited and self.kept


def look(truth: Truth, kind: EditType, verdict: Verdict) -> Outcome:
    """Return what the judge sees of an item's claims."""
    said = [(claim, claim.holds(verdict)) for claim in claims(truth, kind)]
    held = [(claim, holds) for claim, holds in said if holds is not None]
    by_aspect = {name: [ok for claim, ok in held if claim.aspect == name] for name in ASPECTS}
    return Outcome(
        edited=all(ok for claim, ok in held if claim.changed),
        kept=all(ok for claim, ok in held if not claim.changed),
        aspects={name: all(all_of) if all_of else None for name, all_of in by_aspect.items()},
    )


def claims(truth: Truth, kind: EditType) -> Iterator[Claim]:
    """Yield all that should be seen in the expected result."""
    before = {thing.slot: thing for thing in truth.source.things}
    after = {thing.slot: thing for thing in truth.target.things}
    for slot, thing in after.items():
        yield from _of_thing(thing, before.get(slot), truth.after[slot], kind)
    named = {thing.placed.name for thing in after.values()}
    for thing in before.values():
        if thing.placed.name not in named:
            yield Claim("object", True, _misses(thing.placed.name))
    source, target = truth.source, truth.target
    place, style = target.background, target.style
    yield Claim("background", source.background != place, lambda seen: seen.background == place)
    yield Claim("style", source.style != style, lambda seen: seen.style == style)


def _of_thing(new: Thing, old: Thing | None, cover: Mask, kind: EditType) -> Iterator[Claim]:
    name, colour = new.placed.name, new.placed.colour
    was = old.placed if old else None
    moved = was is None or (was.x, was.y) != (new.placed.x, new.placed.y)
    yield Claim("object", was is None or was.name != name, lambda seen: seen.find(name) is not None)
    if new.says_colour or (was is not None and was.name == name):
        # Nothing says which colour a new thing has whose prompt leaves it out.
        yield Claim(
            "colour", was is None or was.colour != colour, _of(name, lambda f: f.colour == colour)
        )
    yield Claim("position", moved, _of(name, lambda found: _in_place(found, cover)))
    if kind is EditType.CONTENT:
        yield Claim("size", True, _of(name, lambda found: _alike_in_size(found, cover)))


def _of(name: str, fits: Callable[[Found], bool]) -> Callable[[Verdict], bool | None]:
    def holds(seen: Verdict) -> bool | None:
        found = seen.find(name)
        return None if found is None else fits(found)

    return holds


def _misses(name: str) -> Callable[[Verdict], bool]:
    return lambda seen: seen.find(name) is None


def _in_place(found: Found, cover: Mask) -> bool:
    rows, columns = np.nonzero(cover)
    away = np.hypot(found.centre[0] - columns.mean(), found.centre[1] - rows.mean())
    return bool(away <= PLACE_TOLERANCE * cover.shape[0])


def _alike_in_size(found: Found, cover: Mask) -> bool:
    factor = float(found.mask.sum() / cover.sum())
    return 1 / SIZE_FACTOR <= factor <= SIZE_FACTOR
