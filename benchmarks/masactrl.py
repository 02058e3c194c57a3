"""Measure MasaCtrl (arXiv 2304.08465): another size, the same look, by the judge's eyes.

The edit's prompt asks for another size and leaves the colour out: what colour the object has can
come from the source's keys and values alone. Compared with the plain picture of the same prompt
and the same noise.

generated: seed k takes object, colour, ground and direction (small to large, or back) number k,
each modulo their number. real: renders that no training saw, one object each, inverted; an object
of less than a tenth of the picture is to be large, another one small. A case counts if the judge
sees exactly its object in the source, in its colour.

* resized: the object's area changed by a quarter or more, in the direction that was asked for;
* colour: it has the source's colour;
* success: both;
* look: distance of its mean colour to the source's, in levels of 255.

    python -m benchmarks.masactrl generated --engine openvino
    python -m benchmarks.masactrl real --engine openvino --seeds 30
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple

import numpy as np
from cyclopts import App
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from underpaint import Pipeline
from underpaint_masactrl import MasaCtrl
from underpaint_picturebook.judge import Judge
from underpaint_picturebook.objects import OBJECTS
from underpaint_picturebook.palette import COLOURS

from benchmarks.renders import unseen_scenes
from benchmarks.report import write_lines

Task = Literal["generated", "real"]

GROUNDS = ("on grass", "on the beach", "in the snow", "on the water", "")
SIZES = (("small", "large"), ("large", "small"))
LEAST = math.log(1.25)
MIDDLE = 0.1
"""Share of the picture that tells a small object from a large one."""

app = App(name="masactrl", help=__doc__)


class Case(NamedTuple):
    """One object, its two prompts, the direction of its size, and its picture if it has one."""

    seed: int
    word: str
    colour: str
    source: str
    target: str
    grows: bool
    picture: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Seen:
    """What the judge sees of one picture; look is null where there is no such object."""

    resized: bool
    colour: bool
    look: float | None

    @property
    def success(self) -> bool:
        """Whether the size changed and the colour did not."""
        return self.resized and self.colour


@dataclass(frozen=True)
class Outcome:
    """What came of one case."""

    task: Task
    seed: int
    source: str
    target: str
    accepted: bool
    edit: Seen
    plain: Seen


def generated() -> Iterator[Case]:
    """Yield the cases of the seeds from 0 upward."""
    for seed in range(10**6):
        word, colour = (list(names)[seed % len(names)] for names in (OBJECTS, COLOURS))
        old, new = SIZES[seed % len(SIZES)]
        ground = GROUNDS[seed % len(GROUNDS)]
        source, target = f"a {old} {colour} {word} {ground}", f"a {new} {word} {ground}"
        yield Case(seed, word, colour, source.strip(), target.strip(), new == "large")


def real() -> Iterator[Case]:
    """Yield unseen renders whose caption names the colour, with the caption as the source."""
    for made in unseen_scenes():
        item = made.objects[0]
        if item.words.colour is None:
            continue
        grows = bool(item.mask.mean() < MIDDLE)
        after = made.caption[item.words.noun[0] :]
        target = f"a {'large' if grows else 'small'} {after}"
        yield Case(made.seed, item.name, item.colour, made.caption, target, grows, made.image)


def measure(pipe: Pipeline, judge: Judge, case: Case, task: Task, steps: int) -> Outcome:
    """Paint one case with and without the method, and compare both with the source."""
    call: dict[str, Any] = {"num_inference_steps": steps, "seed": case.seed}
    if case.picture is not None:
        path = pipe.invert(case.picture, case.source, num_inference_steps=steps)
        call["trajectory"] = path
    edit = MasaCtrl(source=case.source)
    result = pipe(case.target, edits=[edit], record_attention=False, **call)
    plain = pipe(case.target, **call).images[0]
    pictures = [np.asarray(p) for p in (result.branches["source"][0], result.images[0], plain)]
    source = judge(pictures[:1])[0].find(case.word)
    only = judge(pictures[:1])[0].classes == (case.word,)
    accepted = source is not None and only and source.colour == case.colour

    def see(picture: NDArray[np.uint8]) -> Seen:
        found = judge([picture])[0].find(case.word)
        if found is None or source is None:
            return Seen(resized=False, colour=False, look=None)
        change = math.log(found.mask.mean() / source.mask.mean())
        means = picture[found.mask].mean(0), pictures[0][source.mask].mean(0)
        return Seen(
            resized=(change if case.grows else -change) >= LEAST,
            colour=found.colour == source.colour,
            look=float(np.abs(means[0] - means[1]).mean()),
        )

    seen = [see(picture) for picture in pictures[1:]]
    return Outcome(task, case.seed, case.source, case.target, accepted, *seen)


def summarise(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Return a line for the method and one for the plain pictures, of the cases that count."""
    kept = [one for one in outcomes if one.accepted]
    lines = []
    for way in ("edit", "plain"):
        seen = [one.edit if way == "edit" else one.plain for one in kept]
        looks = [each.look for each in seen if each.look is not None]
        shares = {
            name: fmean(getattr(each, name) for each in seen) if seen else math.nan
            for name in ("success", "resized", "colour")
        }
        look = fmean(looks) if looks else math.nan
        lines.append(
            {"way": way, "cases": len(kept), "seeds": len(outcomes), **shares, "look": look}
        )
    return lines


@app.default
def main(
    task: Task,
    /,
    *,
    engine: str = "pytorch",
    seeds: int = 50,
    steps: int = 12,
    json_out: Path | None = None,
) -> None:
    """Change the size of one object of each seed, or render; print a table, write JSON lines."""
    pipe, judge = Pipeline.from_pretrained("picturebook", engine), Judge.load()
    cases = list(islice(generated() if task == "generated" else real(), seeds))
    outcomes: list[Outcome] = []
    for case in track(cases, "painting", console=Console(stderr=True)):
        outcomes.append(measure(pipe, judge, case, task, steps))
        about = {"benchmark": "masactrl", "task": task, "engine": engine, "steps": steps}
        lines = [{**about, **line} for line in summarise(outcomes)]
        write_lines(json_out, [*map(asdict, outcomes), *lines])  # kept, should the rest fail
    table = Table("way", "cases", "success", "resized", "colour", "look, levels", box=None)
    for line in lines:
        shares = [f"{line[name]:.0%}" for name in ("success", "resized", "colour")]
        table.add_row(line["way"], str(line["cases"]), *shares, f"{line['look']:.1f}")
    Console().print(table)


if __name__ == "__main__":
    app()
