"""The set: the same items from the same seed, in two splits, in an order that can be cut anywhere.

``tune`` is for choosing settings, ``test`` for reporting them; no scene is in both. Types have the
shares of PIE-Bench. Of the test split every third item of a type shows an object-colour or
object-object pair that no training scene shows; the tuning split shows none.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, islice
from typing import Literal

from benchmarks.picturebench.changes import CHANGES, Change
from benchmarks.picturebench.edit_types import EditType
from benchmarks.picturebench.items import Item, make_item, shows_unseen

Split = Literal["tune", "test"]

SEED = 0
UNSEEN_EVERY = 3

PIE_COUNTS = {
    EditType.RANDOM: 140, EditType.CHANGE_OBJECT: 80, EditType.ADD_OBJECT: 80,
    EditType.DELETE_OBJECT: 80, EditType.CONTENT: 40, EditType.POSE: 40, EditType.COLOUR: 40,
    EditType.MATERIAL: 40, EditType.BACKGROUND: 80, EditType.STYLE: 80,
}  # fmt: skip
"""Items of each type in PIE-Bench."""

SHARES: dict[Split, int] = {"tune": 10, "test": 2}
"""A split has this part of PIE-Bench's number: 70 and 350 items."""


def picture_set(split: Split, limit: int | None = None, seed: int = SEED) -> list[Item]:
    """Return the items of a split, types by turns; `limit` takes the first ones of that order."""
    return [draw_item(split, kind, rank, seed) for kind, rank in islice(plan(split), limit)]


def draw_item(split: Split, kind: EditType, rank: int, seed: int = SEED) -> Item:
    """Return the item number `rank` of a type."""
    unseen = split == "test" and rank % UNSEEN_EVERY == UNSEEN_EVERY - 1
    rng = random.Random(f"picturebench/{seed}/{split}/{kind.value}/{rank}")  # noqa: S311
    key = f"{split}-{kind.value}{rank:03d}"
    return make_item(key, kind, split, _draw(kind, rng, unseen=unseen))


def plan(split: Split) -> Iterator[tuple[EditType, int]]:
    """Yield types and ranks in the set's order; nothing is drawn."""
    counts = {kind: total // SHARES[split] for kind, total in PIE_COUNTS.items()}
    for rank in count():
        left = [kind for kind in EditType if rank < counts[kind]]
        if not left:
            return
        yield from ((kind, rank) for kind in left)


def _draw(kind: EditType, rng: random.Random, *, unseen: bool) -> Change:
    while True:
        change = CHANGES[kind](rng)
        if shows_unseen(change) == unseen:
            return change
