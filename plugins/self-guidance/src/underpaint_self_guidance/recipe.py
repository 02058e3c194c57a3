"""From what is asked to the objects' targets (arXiv 2306.00986, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from underpaint.records import MAIN
from underpaint.run import Run
from underpaint.tokens import Tokens

from underpaint_self_guidance.changes import Borrow, Placing
from underpaint_self_guidance.energies import Target, Weights
from underpaint_self_guidance.picture import Pictured
from underpaint_self_guidance.placement import Placement
from underpaint_self_guidance.sources import ORIGINAL, Source
from underpaint_self_guidance.words import average, objects, places

if TYPE_CHECKING:
    from underpaint_self_guidance.method import SelfGuidance

BESIDE = 0.2
"""Part of their weights that a placed object's energies keep beside its picture, wholly pulled.

At full weight they tear what the picture has made whole; without them objects stay too large.
"""

Name = tuple[str, int | None]
"""A word or phrase, and which of several equal ones."""


class Recipe:
    """The targets of one run.

    Raises
    ------
    UnknownWordError
        If a prompt lacks a word; the message lists those it has.
    """

    def __init__(self, edit: SelfGuidance, sources: Mapping[Borrow, Source], run: Run) -> None:
        self.edit = edit
        self.sources = sources
        self.run = run
        self.prompts = run.tokens(run.prompts(MAIN))
        self.originals = run.tokens(run.prompts(ORIGINAL))

    def targets(self) -> tuple[Target, ...]:
        """Return what is changed, what is borrowed, and what is kept."""
        found = (*self.changed(), *self._kept())
        return tuple(target for target in found if target.weights != Weights())

    def changed(self) -> tuple[Target, ...]:
        """Return the objects that are placed or borrow something."""
        return (*self._placed(), *self._borrowed())

    def pictured(self) -> tuple[Pictured, ...]:
        """Return the objects whose clean pictures are drawn somewhere.

        Those that are placed take theirs along, if they take no other look.
        """
        taken = self._taken("appearance")
        placed = [
            Pictured("placed", target)
            for (word, _), target in zip(self._placements(), self._placed(), strict=True)
            if word not in taken
        ]
        borrowed = [
            Pictured("taken" if "shape" in borrow.properties else "tinted", target)
            for borrow, target in zip(self.sources, self._borrowed(), strict=True)
            if "appearance" in borrow.properties
        ]
        return (*placed, *borrowed)

    def _placed(self) -> Iterator[Target]:
        """Yield objects that go elsewhere: their place, size and outline there, their own look."""
        edit, taken = self.edit, self._taken("appearance")
        for (word, occurrence), placement in self._placements().items():
            look = 0.0 if word in taken else edit.appearance
            # With another look no picture comes along: the energies do all of it.
            part = 1.0 if word in taken else 1 - (1 - BESIDE) * edit.pull
            weights = Weights(*(part * w for w in (edit.centroid, edit.size, edit.shape, look)))
            yield self._target(word, weights, occurrence=occurrence, placement=placement)

    def _borrowed(self) -> Iterator[Target]:
        """Yield what objects take from other pictures."""
        for borrow, source in self.sources.items():
            weights = Weights(
                shape=self.edit.shape if "shape" in borrow.properties else 0.0,
                centroid=self.edit.centroid if "shape" in borrow.properties else 0.0,
                appearance=self.edit.appearance if "appearance" in borrow.properties else 0.0,
            )
            yield self._target(
                borrow.word, weights, source.name, borrow.like, occurrence=borrow.occurrence
            )

    def _kept(self) -> Iterator[Target]:
        """Yield the other objects, whose energies are averaged."""
        edit = self.edit
        words = self._others()
        for word in words:
            shaped = edit.keep in ("everything", "shape") and word not in self._taken("shape")
            looks = edit.keep in ("everything", "appearance") and word not in self._taken(
                "appearance"
            )
            weights = Weights(
                shape=edit.shape / len(words) if shaped else 0.0,
                appearance=edit.appearance / len(words) if looks else 0.0,
            )
            if weights != Weights():
                yield self._target(word, weights)

    def _placements(self) -> dict[Name, Placement]:
        placements: dict[Name, Placement] = {}
        changes: tuple[Placing, ...] = (*self.edit.move, *self.edit.resize, *self.edit.rotate)
        for change in changes:
            name = (change.word, change.occurrence)
            placements[name] = placements.get(name, Placement()).then(change.placement())
        return placements

    def _taken(self, kind: str) -> set[str]:
        """Return the words whose shape or appearance is borrowed."""
        return {borrow.word for borrow in self.edit.borrows if kind in borrow.properties}

    def _others(self) -> list[str]:
        """Return the words that are kept: those given, or what both prompts seem to name.

        None where the background is kept: its latents are the original's, and the outline of the
        ground, which has a hole where an object stands, would hold that object in it. A word inside
        of a placed phrase is not kept: it moves along.
        """
        placed = [Tokens(word, (), (), 0).words for word, _ in self._placements()]
        moving = {word.casefold() for words in placed for word in words}
        if self.edit.others is not None:
            return [word for word in self.edit.others if word.casefold() not in moving]
        if self.edit.blends:
            return []
        texts = [*self.prompts, *self.originals]
        named = [{word.casefold() for word in objects(text.text)} for text in texts]
        shared = set.intersection(*named) - moving
        return [word for word in objects(self.prompts[0].text) if word.casefold() in shared]

    def _target(
        self,
        word: str,
        weights: Weights,
        branch: str = ORIGINAL,
        like: str | None = None,
        *,
        occurrence: int | None = None,
        placement: Placement | None = None,
    ) -> Target:
        there = self.originals if branch == ORIGINAL else self.run.tokens(self.run.prompts(branch))
        length, device = len(self.prompts[0].ids), self.run.engine.device
        return Target(
            tokens=average(places(self.prompts, word, occurrence), length).to(device),
            branch=branch,
            their_tokens=average(
                places(there, like or word, None if like else occurrence), length
            ).to(device),
            weights=weights,
            placement=placement or Placement(),
            overshoot=self.edit.overshoot,
        )
