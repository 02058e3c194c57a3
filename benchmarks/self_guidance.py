"""Measure moves and resizes by Diffusion Self-Guidance (arXiv 2306.00986), with the judge's eyes.

Seed k takes object, colour, ground and change number k, each modulo their number; none is picked.
A case counts only if the judge sees exactly its object in the plain picture, and in its colour.

* reached: how far the object's centre has come along the way that was asked for, of 1; for a resize
  how far its side has, in the logarithm: log(area after / before) / log(factor squared), areas in
  pixels of the judge's masks. An object that is not found any more has come 0;
* success: at least 0.6;
* background: PSNR to the plain picture outside of the object's old and new place, grown;
  null where nothing is outside.

    python -m benchmarks.self_guidance move --json-out benchmarks/results/self_guidance_move.jsonl
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple

import numpy as np
from cyclopts import App
from rich.console import Console
from rich.progress import track
from rich.table import Table
from underpaint import Pipeline
from underpaint_picturebook.judge import Found, Judge
from underpaint_picturebook.objects import OBJECTS
from underpaint_picturebook.palette import COLOURS
from underpaint_self_guidance import SelfGuidance, move, resize
from underpaint_self_guidance.changes import Change

from benchmarks.p2p_quality import grow
from benchmarks.renders import psnr
from benchmarks.report import write_lines

Task = Literal["move", "resize"]

GROUNDS = ("on grass", "on the beach", "in the snow", "on the water", "")
SHIFTS = ((0.2, 0.0), (-0.2, 0.0), (0.0, -0.2), (0.0, 0.2))
FACTORS = (1.4, 0.7)
SUCCESS = 0.6


class Case(NamedTuple):
    """One object and what is done to it."""

    seed: int
    prompt: str
    word: str
    colour: str
    shift: tuple[float, float]
    factor: float

    def change(self, task: Task) -> Change:
        """Return the change of a task."""
        if task == "resize":
            return resize(self.word, self.factor)
        x, y = self.shift
        return move(self.word, right=x, down=y)


@dataclass(frozen=True)
class Outcome:
    """What came of one case; PSNR in dB."""

    task: Task
    seed: int
    prompt: str
    asked: str
    accepted: bool
    found: bool
    colour: bool
    reached: float
    background: float | None


def case(seed: int) -> Case:
    """Return the case of a seed."""
    word, colour = (list(names)[seed % len(names)] for names in (OBJECTS, COLOURS))
    article = "an" if colour[0] in "aeiou" else "a"
    prompt = f"{article} {colour} {word} {GROUNDS[seed % len(GROUNDS)]}".strip()
    shift, factor = SHIFTS[seed % len(SHIFTS)], FACTORS[seed % len(FACTORS)]
    return Case(seed, prompt, word, colour, shift, factor)


def measure(pipe: Pipeline, judge: Judge, one: Case, task: Task, steps: int, **how: Any) -> Outcome:
    """Paint one case and compare it with its original."""
    change = one.change(task)
    edit = SelfGuidance(change, **how)
    result = pipe(one.prompt, edits=[edit], seed=one.seed, num_inference_steps=steps)
    plain, edited = result.branches["original"][0], result.images[0]
    before, after = judge([plain, edited])
    old, new = before.find(one.word), after.find(one.word)
    accepted = old is not None and before.classes == (one.word,) and old.colour == one.colour
    outside = ~grow(before.mask(one.word) | after.mask(one.word))
    return Outcome(
        task,
        one.seed,
        one.prompt,
        str(one.factor if task == "resize" else one.shift),
        accepted,
        new is not None,
        new is not None and new.colour == one.colour,
        _reached(one, task, old, new),
        psnr(np.asarray(edited), np.asarray(plain), outside) if outside.any() else None,
    )


def _reached(one: Case, task: Task, old: Found | None, new: Found | None) -> float:
    if old is None or new is None:
        return 0.0
    if task == "resize":
        return float(math.log(new.mask.mean() / old.mask.mean()) / math.log(one.factor**2))
    way = (np.array(new.centre) - old.centre) / old.mask.shape[0]
    asked = np.array(one.shift)
    return float(way @ asked / (asked @ asked))


def summarise(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Return the shares and means of the cases that count."""
    kept = [one for one in outcomes if one.accepted]
    if not kept:
        return {"seeds": len(outcomes), "cases": 0}
    return {
        "seeds": len(outcomes),
        "cases": len(kept),
        "success": fmean(one.reached >= SUCCESS for one in kept),
        "reached": fmean(one.reached for one in kept),
        "found": fmean(one.found for one in kept),
        "colour": fmean(one.colour for one in kept),
        "background": fmean(one.background for one in kept if one.background is not None),
    }


def show(task: Task, summary: dict[str, float]) -> None:
    """Print the summary; there is nothing to print where no case counts."""
    if not summary["cases"]:
        return
    table = Table("task", "cases", "success", "reached", "found", "colour kept", "background dB")
    shares = [f"{summary[key]:.0%}" for key in ("success", "reached", "found", "colour")]
    table.add_row(task, str(summary["cases"]), *shares, f"{summary['background']:.1f}")
    Console().print(table)


def bench(
    task: Task,
    /,
    *,
    model: str = "picturebook",
    engine: str = "pytorch",
    seeds: int = 50,
    steps: int = 12,
    strength: float | None = None,
    size: float | None = None,
    json_out: Path | None = None,
) -> None:
    """Move, or resize, one object of each seed.

    Parameters
    ----------
    task : move or resize.
    model, engine : what paints.
    seeds : from 0 upward.
    steps : of each picture.
    strength, size : of the method; left out, its defaults.
    json_out : a file for one JSON line a seed and one for all.
    """
    pipe, judge = Pipeline.from_pretrained(model, engine), Judge.load()
    given = {"strength": strength, "size": size}
    how = {name: value for name, value in given.items() if value is not None}
    cases: Iterable[Case] = track(
        [case(seed) for seed in range(seeds)], "painting", console=Console(stderr=True)
    )
    about = {"model": model, "engine": engine, "steps": steps, **given}
    outcomes: list[Outcome] = []
    for one in cases:  # what is done is kept, should the rest be interrupted
        outcomes.append(measure(pipe, judge, one, task, steps, **how))
        line = {"summary": task, **summarise(outcomes), **about}
        write_lines(json_out, [*map(asdict, outcomes), line])
    show(task, summarise(outcomes))


if __name__ == "__main__":
    app = App(name="self_guidance")
    app.default(bench)
    app()
