"""Show that a part of the noise tends to become the same thing under several prompts.

Initial image editing (arXiv 2305.03382) rests on it: with one x_T, the prompts "a cat and a bus"
and "a bus and a cat" put the cat at nearly the same place, with nearly the same looks. For every
two prompts and each object that both name, the overlap (IoU) of its judged masks and the agreement
of its judged colours are taken between the pictures of one seed, and for comparison between those
of neighbouring seeds. An object that the judge does not find in both pictures is left out, and
counted.

    python -m benchmarks.generation_tendency --seeds 50 --sheet tendency.png
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from cyclopts import App
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from underpaint import Pipeline
from underpaint.result import Result
from underpaint.sheet import Panel, heat_map, panel_sheet
from underpaint_picturebook.judge import Found, Judge, Verdict

from benchmarks.report import write_lines

PROMPTS = ("a cat and a bus", "a bus and a cat", "a cat and a tree")
OBJECTS = ("cat", "bus", "tree")


@dataclass(frozen=True)
class Overlap:
    """How alike an object is in two pictures: its masks' IoU, and whether its colour is the same.

    Both are None if it is missing in one of them.
    """

    word: str
    first: str
    second: str
    seeds: tuple[int, int]
    iou: float | None
    colour: bool | None

    @property
    def same_noise(self) -> bool:
        """Whether both pictures come from one x_T."""
        return self.seeds[0] == self.seeds[1]


def overlaps(verdicts: Sequence[Sequence[Verdict]]) -> Iterator[Overlap]:
    """Yield the overlaps of all pairs; `verdicts` holds a list of prompts for each seed."""
    count = len(verdicts)
    for a, b in combinations(range(len(PROMPTS)), 2):
        for word in OBJECTS:
            if word not in PROMPTS[a] or word not in PROMPTS[b]:
                continue
            for seed in range(count):
                for other in dict.fromkeys((seed, (seed + 1) % count)):
                    alike = compare(verdicts[seed][a].find(word), verdicts[other][b].find(word))
                    yield Overlap(word, PROMPTS[a], PROMPTS[b], (seed, other), *alike)


def compare(first: Found | None, second: Found | None) -> tuple[float | None, bool | None]:
    """Return the IoU of two masks and whether the colours agree; None where one is missing."""
    if first is None or second is None:
        return None, None
    iou = (first.mask & second.mask).sum() / (first.mask | second.mask).sum()
    return float(iou), first.colour == second.colour


def draw_sheet(pages: Sequence[Result]) -> Image.Image:
    """Return a row for each seed: its pictures, and the maps of the first and last step."""
    rows = [[_panel(page, index, prompt) for index, prompt in enumerate(PROMPTS)] for page in pages]
    return panel_sheet(rows, "bright: where the model looks for the word")


def _panel(page: Result, index: int, prompt: str) -> Panel:
    picture, maps = page.images[index], page.attention.image(index)
    words = [word for word in prompt.split() if word in OBJECTS]
    details = [
        (f"{word}, {when} step", heat_map(picture, maps[word][0, step].numpy()))
        for word in words
        for when, step in (("first", 0), ("last", -1))
    ]
    text = [(word, word in words) for word in prompt.split()]
    return Panel(f"Seed {page.seeds[index]}", text, picture, details)


def summarise(found: Sequence[Overlap]) -> Iterator[dict[str, Any]]:
    """Yield a row for each object, pair of prompts, and same or other noise."""
    for key in dict.fromkeys((one.word, one.first, one.second, one.same_noise) for one in found):
        own = [o for o in found if (o.word, o.first, o.second, o.same_noise) == key]
        seen = [one for one in own if one.iou is not None]
        yield {
            **dict(zip(("word", "first", "second", "same_noise"), key, strict=True)),
            "pairs": len(own),
            "missing": len(own) - len(seen),
            "iou": fmean(one.iou or 0 for one in seen) if seen else None,
            "same_colour": fmean(bool(one.colour) for one in seen) if seen else None,
        }


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the summary."""
    table = Table("object", "prompts", "noise", "IoU", "same colour", "pairs", "missing")
    for row in rows:
        figures = ["-" if row[k] is None else f"{row[k]:.2f}" for k in ("iou", "same_colour")]
        noise = "same" if row["same_noise"] else "other"
        prompts = f"{row['first']} | {row['second']}"
        counts = [str(row[k]) for k in ("pairs", "missing")]
        table.add_row(row["word"], prompts, noise, *figures, *counts)
    Console().print(table)


def bench(
    *,
    model: str = "picturebook",
    engine: str = "pytorch",
    seeds: int = 50,
    steps: int | None = None,
    json_out: Path | None = None,
    sheet: Path | None = None,
    rows: int = 3,
) -> None:
    """Paint prompts that share objects from the same noise, and measure where the objects lie.

    Parameters
    ----------
    model, engine : what paints.
    seeds : from 0 upward.
    steps : of each picture; left out, what the model recommends.
    json_out : a file for one JSON line a pair of masks.
    sheet : a picture of the first seeds and their maps, and how many `rows` of them.
    """
    pipe, judge = Pipeline.from_pretrained(model, engine), Judge.load()
    verdicts: list[list[Verdict]] = []
    pages: list[Result] = []
    for seed in track(range(seeds), "painting", console=Console(stderr=True)):
        page = pipe(
            list(PROMPTS),
            seed=seed,
            num_inference_steps=steps,
            record_attention=True,
            attention_per_step=True,
        )
        verdicts.append(judge(page.images))
        pages = [*pages, page][:rows]
    found = list(overlaps(verdicts))
    summary = list(summarise(found))
    show(summary)
    about = {"model": model, "engine": engine, "steps": steps}
    lines = [{"summary": "generation_tendency", **row, **about} for row in summary]
    write_lines(
        json_out, [*({**asdict(one), "same_noise": one.same_noise} for one in found), *lines]
    )
    if sheet is not None:
        draw_sheet(pages).save(sheet)


if __name__ == "__main__":
    app = App(name="generation_tendency")
    app.default(bench)
    app()
