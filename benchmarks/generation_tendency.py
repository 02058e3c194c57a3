"""Show that a part of the noise tends to become the same thing under several prompts.

Initial image editing (arXiv 2305.03382) rests on it: with one x_T, the prompts "a cat and a bus"
and "a bus and a cat" put the cat at nearly the same place. For every two prompts and each object
that both name, the overlap (IoU) of its judged masks is taken between the pictures of one seed, and
for comparison between those of neighbouring seeds. An object that the judge does not find in both
pictures is left out, and counted.

    python -m benchmarks.generation_tendency --seeds 50 --sheet tendency.png
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import fmean

from cyclopts import App
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from underpaint import Pipeline
from underpaint.result import Result
from underpaint.sheet import Panel, heat_map, panel_sheet
from underpaint_picturebook.judge import Judge, Verdict

from benchmarks.report import write_lines

PROMPTS = ("a cat and a bus", "a bus and a cat", "a cat and a tree")
OBJECTS = ("cat", "bus", "tree")


@dataclass(frozen=True)
class Overlap:
    """The IoU of an object's masks in two pictures; None if it is missing in one of them."""

    word: str
    first: str
    second: str
    seeds: tuple[int, int]
    iou: float | None

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
                    iou = mask_iou(verdicts[seed][a], verdicts[other][b], word)
                    yield Overlap(word, PROMPTS[a], PROMPTS[b], (seed, other), iou)


def mask_iou(first: Verdict, second: Verdict, word: str) -> float | None:
    """Return the IoU of an object's masks, or None where one is empty."""
    if first.find(word) is None or second.find(word) is None:
        return None
    a, b = first.mask(word), second.mask(word)
    return float((a & b).sum() / (a | b).sum())


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


def show(found: Sequence[Overlap]) -> None:
    """Print a row for each object and pair of prompts."""
    table = Table("object", "prompts", "IoU, same noise", "IoU, other noise", "pairs", "missing")
    for key in dict.fromkeys((one.word, one.first, one.second) for one in found):
        own = [one for one in found if (one.word, one.first, one.second) == key]
        cells = [
            f"{fmean(values):.2f}" if values else "-"
            for same in (True, False)
            for values in [[o.iou for o in own if o.same_noise == same and o.iou is not None]]
        ]
        missing = sum(one.iou is None for one in own)
        table.add_row(key[0], f"{key[1]} | {key[2]}", *cells, str(len(own)), str(missing))
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
    show(found)
    about = {"model": model, "engine": engine, "steps": steps}
    write_lines(json_out, [{**asdict(one), "same_noise": one.same_noise, **about} for one in found])
    if sheet is not None:
        draw_sheet(pages).save(sheet)


if __name__ == "__main__":
    app = App(name="generation_tendency")
    app.default(bench)
    app()
