"""An item: a picture, the words of its edit, where it may change, and what should come of it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property

import numpy as np
from underpaint_picturebook.world import is_held_out

from benchmarks.picturebench.changes import Change
from benchmarks.picturebench.edit_types import EditType
from benchmarks.picturebench.masks import edit_mask
from benchmarks.picturebench.scenes import Mask, Pixels, SceneSpec, draw_scene

ARTICLES = ("a", "an")


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of an item that the world drew.

    Attributes
    ----------
    picture : the expected result, uint8 [256, 256, 3].
    before, after : where the objects lie in the two pictures, bool [256, 256] by slot.
    """

    source: SceneSpec
    target: SceneSpec
    picture: Pixels
    before: dict[int, Mask]
    after: dict[int, Mask]


@dataclass(frozen=True, eq=False)
class Item:
    """One edit of one picture.

    Attributes
    ----------
    picture : what is edited, uint8 [H, W, 3].
    mask : where it may change, bool [H, W].
    blended : the words of both prompts whose places are blended, or None.
    unseen : the source or the target shows a combination that no training scene shows.
    truth : None for a picture that was not drawn by the world.
    """

    key: str
    type: EditType
    split: str
    source_prompt: str
    target_prompt: str
    instruction: str
    blended: tuple[str, str] | None
    picture: Pixels
    mask: Mask
    unseen: bool = False
    truth: Truth | None = None

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits of all that an edit of it and its metrics depend on."""
        words = (self.source_prompt, self.target_prompt, self.blended, self.type.value)
        content = hashlib.sha256(json.dumps(words).encode())
        expected = self.truth.picture if self.truth else np.empty(0, np.uint8)
        for array in (self.picture, self.mask, expected):
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()[:12]

    @property
    def swapped(self) -> tuple[str, str] | None:
        """The one word of the source prompt that another takes the place of, and that one."""
        pairs = [pair for pair in different_words(self.source_prompt, self.target_prompt) if pair]
        if len(pairs) != 1 or any(len(words) != 1 for words in pairs[0]):
            return None
        (old,), (new,) = pairs[0]
        return old, new

    @property
    def focus(self) -> str | None:
        """The word of the target prompt whose attention should lie where `focus_mask` is."""
        if self.blended:
            return self.blended[1]
        if self.type not in (EditType.ADD_OBJECT, EditType.BACKGROUND):
            return None
        added = [new for _, new in different_words(self.source_prompt, self.target_prompt) if new]
        return added[0][-1] if len(added) == 1 else None

    @property
    def focus_mask(self) -> Mask:
        """Where the thing that `focus` names is expected, bool [H, W]; the mask if it is none."""
        for thing in self.truth.target.things if self.truth else ():
            if self.truth and thing.placed.name == self.focus:
                return self.truth.after[thing.slot]
        return self.mask


def make_item(key: str, kind: EditType, split: str, change: Change) -> Item:
    """Draw a change."""
    before, after = draw_scene(change.source), draw_scene(change.target)
    return Item(
        key=key,
        type=kind,
        split=split,
        source_prompt=change.source.prompt,
        target_prompt=change.target.prompt,
        instruction=change.instruction,
        blended=change.blended,
        picture=before.picture,
        mask=edit_mask(change.source, change.target, before, after),
        unseen=shows_unseen(change),
        truth=Truth(change.source, change.target, after.picture, before.cover, after.cover),
    )


def shows_unseen(change: Change) -> bool:
    """Say whether the source or the target shows a combination kept out of training."""
    return is_held_out(change.source.pairs) or is_held_out(change.target.pairs)


def different_words(source: str, target: str) -> list[tuple[list[str], list[str]]]:
    """Return the runs of words that differ, of the source and the target, less articles."""
    first, second = source.split(), target.split()
    runs = SequenceMatcher(None, first, second, autojunk=False).get_opcodes()
    pairs = [
        (_without_articles(first[a:b]), _without_articles(second[c:d]))
        for kind, a, b, c, d in runs
        if kind != "equal"
    ]
    return [(old, new) for old, new in pairs if old or new]


def _without_articles(words: list[str]) -> list[str]:
    return [word for word in words if word not in ARTICLES]
