"""Measure whether every named object is drawn, with the energy and without, by the judge's eyes.

Seed k takes three different objects, drawn by the seed, and a ground, number k modulo their number:
"a cat, a bus and a star in the snow". Both pictures start from the same noise.

* complete: the judge sees all three objects;
* found: of the named objects, those that it sees;
* others: objects that it sees and nobody named, a picture;
* repaired, broken: complete with the energy alone, without it alone.

    python -m benchmarks.every_object --engine openvino
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from cyclopts import App
from rich.console import Console
from rich.progress import track
from rich.table import Table
from underpaint import Pipeline
from underpaint_every_object import EveryObject
from underpaint_picturebook.judge import Judge
from underpaint_picturebook.objects import OBJECTS

from benchmarks.report import write_lines

GROUNDS = ("on grass", "on the beach", "in the snow", "on the water", "")
COUNT = 3

app = App(name="every_object", help=__doc__)


@dataclass(frozen=True)
class Outcome:
    """What came of one seed: the objects that the judge sees, by way."""

    seed: int
    prompt: str
    named: tuple[str, ...]
    plain: tuple[str, ...]
    edit: tuple[str, ...]


def case(seed: int) -> tuple[str, tuple[str, ...]]:
    """Return the prompt of a seed, and the objects that it names."""
    named = tuple(random.Random(seed).sample(list(OBJECTS), COUNT))  # noqa: S311 - no secret
    first, second, third = (f"{'an' if word[0] in 'aeiou' else 'a'} {word}" for word in named)
    return f"{first}, {second} and {third} {GROUNDS[seed % len(GROUNDS)]}".strip(), named


def measure(pipe: Pipeline, judge: Judge, seed: int, steps: int, **how: Any) -> Outcome:
    """Paint one seed both ways."""
    prompt, named = case(seed)
    edit = EveryObject(objects=named, **how)
    call: dict[str, Any] = {"seed": seed, "num_inference_steps": steps}
    pictures = [pipe(prompt, **call).images[0], pipe(prompt, edits=[edit], **call).images[0]]
    plain, edited = (verdict.classes for verdict in judge(pictures))
    return Outcome(seed, prompt, named, plain, edited)


def summarise(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return a line for the energy and one for the plain pictures."""
    complete = {
        way: [set(one.named) <= set(getattr(one, way)) for one in outcomes]
        for way in ("edit", "plain")
    }
    pairs = list(zip(complete["edit"], complete["plain"], strict=True))
    lines = []
    for way, whole in complete.items():
        seen = [(set(one.named), set(getattr(one, way))) for one in outcomes]
        lines.append(
            {
                "way": way,
                "seeds": len(outcomes),
                "complete": fmean(whole),
                "found": fmean(len(named & there) / len(named) for named, there in seen),
                "others": fmean(len(there - named) for named, there in seen),
                "repaired": sum(edit and not plain for edit, plain in pairs),
                "broken": sum(plain and not edit for edit, plain in pairs),
            }
        )
    return lines


@app.default
def main(
    *,
    engine: str = "pytorch",
    seeds: int = 50,
    first: int = 0,
    steps: int = 12,
    scale: float | None = None,
    until: float | None = None,
    json_out: Path | None = None,
) -> None:
    """Paint so many seeds from `first` on both ways; print a table, write JSON lines."""
    pipe, judge = Pipeline.from_pretrained("picturebook", engine), Judge.load()
    given = {"scale": scale, "until": until}
    how = {name: value for name, value in given.items() if value is not None}
    outcomes: list[Outcome] = []
    chosen = range(first, first + seeds)
    for seed in track(chosen, "painting", console=Console(stderr=True)):
        outcomes.append(measure(pipe, judge, seed, steps, **how))
        about = {"benchmark": "every_object", "engine": engine, "steps": steps, **given}
        lines = [{**about, **line} for line in summarise(outcomes)]
        write_lines(json_out, [*map(asdict, outcomes), *lines])  # kept, should the rest fail
    table = Table("way", "seeds", "complete", "found", "others", box=None)
    for line in lines:
        shares = [f"{line['complete']:.0%}", f"{line['found']:.0%}", f"{line['others']:.2f}"]
        table.add_row(line["way"], str(line["seeds"]), *shares)
    Console().print(table, f"repaired {lines[0]['repaired']}, broken {lines[0]['broken']}")


if __name__ == "__main__":
    app()
