"""Measure looks and objects that Self-Guidance (arXiv 2306.00986) borrows, with the judge's eyes.

Seed k takes object, ground and colour number k, each modulo their number; none is picked. The
call's prompt names no colour; the other picture shows another object (look), or the same (collage),
in the case's colour. A case counts only if the judge sees exactly its object in the plain picture,
in another colour, and in the other picture exactly its object, in the case's.

* success: the object is seen, in the borrowed colour, and no other object;
* place: collage alone, the distance of its centre from the borrowed one's, of the picture's side.

    python -m benchmarks.borrowed_looks look --engine onnxruntime
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal, NamedTuple

from cyclopts import App
from rich.console import Console
from rich.progress import track
from rich.table import Table
from underpaint import Pipeline
from underpaint_picturebook.judge import Found, Judge
from underpaint_picturebook.objects import OBJECTS
from underpaint_picturebook.palette import COLOURS
from underpaint_self_guidance import SelfGuidance, appearance_of, collage
from underpaint_self_guidance.changes import Change

from benchmarks.report import write_lines
from benchmarks.self_guidance import GROUNDS

Task = Literal["look", "collage"]

OTHER_SEEDS = 1000
"""The other picture's seed lies so far above the case's."""


class Case(NamedTuple):
    """One object, and the one it borrows from."""

    task: Task
    seed: int
    word: str
    like: str
    colour: str
    ground: str

    @property
    def prompt(self) -> str:
        """What is painted: no colour is named."""
        return f"{_article(self.word)} {self.ground}".strip()

    def change(self) -> Change:
        """Return the change of a task."""
        prompt = f"{_article(f'{self.colour} {self.like}')} {self.ground}".strip()
        make = appearance_of if self.task == "look" else collage
        return make(self.word, prompt=prompt, like=self.like, seed=self.seed + OTHER_SEEDS)


@dataclass(frozen=True)
class Outcome:
    """What came of one case; `place` is None for a look, and where the object is not seen."""

    task: Task
    seed: int
    prompt: str
    borrowed: str
    accepted: bool
    success: bool
    place: float | None


def case(seed: int, task: Task) -> Case:
    """Return the case of a seed."""
    objects, colours = list(OBJECTS), list(COLOURS)
    word = objects[seed % len(objects)]
    like = objects[(seed + 5) % len(objects)] if task == "look" else word
    return Case(task, seed, word, like, colours[seed % len(colours)], GROUNDS[seed % len(GROUNDS)])


def measure(pipe: Pipeline, judge: Judge, one: Case, steps: int, pull: float) -> Outcome:
    """Paint one case and compare it with both pictures."""
    edit = SelfGuidance(one.change(), pull=pull)
    result = pipe(one.prompt, edits=[edit], seed=one.seed, num_inference_steps=steps)
    pictures = [result.images[0], result.branches["original"][0], result.branches["other-1"][0]]
    edited, plain, other = judge(pictures)
    own, before, theirs = edited.find(one.word), plain.find(one.word), other.find(one.like)
    accepted = (
        before is not None
        and theirs is not None
        and plain.classes == (one.word,)
        and other.classes == (one.like,)
        and theirs.colour == one.colour != before.colour
    )
    alone = own is not None and edited.classes == (one.word,)
    return Outcome(
        one.task,
        one.seed,
        one.prompt,
        f"{one.colour} {one.like}",
        accepted,
        alone and own is not None and own.colour == one.colour,
        _apart(own, theirs) if one.task == "collage" and own and theirs else None,
    )


def _apart(own: Found, theirs: Found) -> float:
    return math.dist(own.centre, theirs.centre) / len(own.mask)


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def summarise(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return the shares and means of the cases that count."""
    kept = [one for one in outcomes if one.accepted]
    summary: dict[str, float] = {"seeds": len(outcomes), "cases": len(kept)}
    if kept:
        summary["success"] = fmean(one.success for one in kept)
    places = [one.place for one in kept if one.place is not None]
    if places:
        summary["place"] = fmean(places)
    return summary


def bench(
    task: Task,
    /,
    *,
    model: str = "picturebook",
    engine: str = "pytorch",
    seeds: int = 50,
    steps: int = 12,
    pull: float = 1.0,
    json_out: Path | None = None,
) -> None:
    """Borrow the look, or the whole object, of each seed.

    Parameters
    ----------
    task : look or collage.
    model, engine : what paints.
    seeds : from 0 upward.
    steps : of each picture.
    pull : of the method; 0 leaves all to the paper's energies.
    json_out : a file for one JSON line a seed and one for all.
    """
    pipe, judge = Pipeline.from_pretrained(model, engine), Judge.load()
    about = {"model": model, "engine": engine, "steps": steps, "pull": pull}
    outcomes: list[Outcome] = []
    cases = [case(seed, task) for seed in range(seeds)]
    for one in track(cases, "painting", console=Console(stderr=True)):
        outcomes.append(measure(pipe, judge, one, steps, pull))
        line = {"summary": task, **summarise(outcomes), **about}
        write_lines(json_out, [*map(asdict, outcomes), line])
    table = Table("task", "pull", "cases", "success", "place")
    found = summarise(outcomes)
    shares = [f"{found[name]:.2f}" if name in found else "" for name in ("success", "place")]
    table.add_row(task, str(pull), str(found["cases"]), *shares)
    Console().print(table)


if __name__ == "__main__":
    app = App(name="borrowed_looks")
    app.default(bench)
    app()
