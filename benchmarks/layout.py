"""Measure how often layout to image puts an object into its box (arXiv 2305.03382).

Seed k takes scene k modulo their number; nothing is picked. Each seed is painted from the same
noise without a method, with the attention bias alone, with its blocks swapped, and with both. The
judge says where it sees the objects:

* found: the object is there at all;
* centre: the middle of its mask lies in its box; an object that is not there counts as no;
* IoU: of the box around its mask and the box that was asked for; 0 if it is not there.

    python -m benchmarks.layout --seeds 100 --json-out benchmarks/results/layout.jsonl
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from cyclopts import App
from rich.console import Console
from rich.progress import track
from rich.table import Table
from underpaint import Method, Pipeline
from underpaint_initial_image_editing import LayoutToImage
from underpaint_initial_image_editing.rules import Rule
from underpaint_picturebook.judge import Judge, Verdict

from benchmarks.report import write_lines

Box = tuple[float, float, float, float]

LEFT, RIGHT = (0.0, 0.3, 0.5, 0.85), (0.5, 0.3, 1.0, 0.85)
CORNER, ABOVE, BELOW = (0.0, 0.0, 0.5, 0.5), (0.25, 0.0, 0.75, 0.5), (0.25, 0.5, 0.75, 1.0)


class Scene(NamedTuple):
    """A prompt, and a box for each object that it names."""

    prompt: str
    boxes: dict[str, Box]


SCENES = (
    Scene("a cat on grass", {"cat": LEFT}),
    Scene("a bus on the beach", {"bus": RIGHT}),
    Scene("a ball in the snow", {"ball": CORNER}),
    Scene("a house on grass", {"house": ABOVE}),
    Scene("a fish on the water", {"fish": BELOW}),
    Scene("a cat and a bus", {"cat": LEFT, "bus": RIGHT}),
    Scene("a cat and a bus", {"cat": RIGHT, "bus": LEFT}),
    Scene("a dog and a tree", {"dog": RIGHT, "tree": LEFT}),
    Scene("a bird and a flower", {"bird": ABOVE, "flower": BELOW}),
    Scene("a boat and a heart", {"boat": BELOW, "heart": ABOVE}),
)


@dataclass(frozen=True)
class Seen:
    """One object of one picture."""

    variant: str
    seed: int
    prompt: str
    word: str
    box: Box
    found: bool
    centre: bool
    iou: float


@dataclass(frozen=True)
class Settings:
    """How the pictures are made: what the options of the command say."""

    seeds: int
    rule: Rule
    bias: float
    steps: int | None

    def variants(self, scene: Scene) -> dict[str, list[Method]]:
        """Return the edits of a scene, by name."""
        boxes = scene.boxes
        return {
            "plain": [],
            "bias": [LayoutToImage(boxes=boxes, swap=False, bias=self.bias)],
            "swap": [LayoutToImage(boxes=boxes, rule=self.rule)],
            "swap and bias": [LayoutToImage(boxes=boxes, rule=self.rule, bias=self.bias)],
        }


def look(verdict: Verdict, word: str, box: Box) -> tuple[bool, bool, float]:
    """Say whether an object is found, whether its centre lies in the box, and their IoU."""
    found = verdict.find(word)
    if found is None:
        return False, False, 0.0
    side = found.mask.shape[0]
    (x, y), (left, top, right, bottom) = found.centre, (edge * side for edge in box)
    own = found.box
    width = min(own[2], right) - max(own[0], left)
    height = min(own[3], bottom) - max(own[1], top)
    both = max(width, 0) * max(height, 0)
    either = (own[2] - own[0]) * (own[3] - own[1]) + (right - left) * (bottom - top) - both
    return True, left <= x < right and top <= y < bottom, both / either


def measure(pipe: Pipeline, judge: Judge, how: Settings) -> Iterator[list[Seen]]:
    """Yield what the judge sees of each call: seeds of one scene and variant."""
    size = max(pipe.engine.max_rows // 4, 1)
    for number, scene in enumerate(SCENES):
        own = range(number, how.seeds, len(SCENES))
        for start in range(0, len(own), size):
            seeds = list(own[start : start + size])
            for name, edits in how.variants(scene).items():
                pictures = pipe(
                    [scene.prompt] * len(seeds),
                    edits=edits,
                    seed=seeds,
                    num_inference_steps=how.steps,
                    record_attention=False,
                ).images
                yield [
                    Seen(name, seed, scene.prompt, word, box, *look(verdict, word, box))
                    for seed, verdict in zip(seeds, judge(pictures), strict=True)
                    for word, box in scene.boxes.items()
                ]


def summarise(seen: Sequence[Seen]) -> dict[str, object]:
    """Return the shares of all objects of one variant."""
    return {
        "objects": len(seen),
        "found": fmean(one.found for one in seen),
        "centre": fmean(one.centre for one in seen),
        "iou": fmean(one.iou for one in seen),
    }


def show(summaries: Mapping[str, Mapping[str, object]]) -> None:
    """Print a row for each group of objects and variant."""
    table = Table("objects", "variant", "n", "found", "centre in the box", "IoU with the box")
    for (group, variant), row in ((name.split(": "), row) for name, row in summaries.items()):
        shares = [f"{row[key]:.0%}" for key in ("found", "centre")]
        table.add_row(group, variant, str(row["objects"]), *shares, f"{row['iou']:.2f}")
    Console().print(table)


def bench(
    *,
    model: str = "picturebook",
    engine: str = "pytorch",
    seeds: int = 100,
    steps: int | None = None,
    rule: Rule = "threshold",
    bias: float = 2.0,
    json_out: Path | None = None,
) -> None:
    """Count the objects that land in their boxes.

    Parameters
    ----------
    model, engine : what paints.
    seeds : from 0 upward; each is painted in four ways.
    steps : of each picture; left out, what the model recommends.
    rule, bias : of the method.
    json_out : a file for one JSON line an object and one for each group and variant.
    """
    pipe = Pipeline.from_pretrained(model, engine)
    parts = measure(pipe, Judge.load(), Settings(seeds, rule, bias, steps))
    seen = [one for part in track(parts, "painting", console=Console(stderr=True)) for one in part]
    summaries = {
        f"{group}: {variant}": summarise(chosen)
        for group, alone in (("one object", True), ("two objects", False))
        for variant in dict.fromkeys(one.variant for one in seen)
        if (
            chosen := [
                s for s in seen if s.variant == variant and (" and " not in s.prompt) == alone
            ]
        )
    }
    show(summaries)
    about = {"model": model, "engine": engine, "rule": rule, "bias": bias, "steps": steps}
    lines = [{"summary": name, **row, **about} for name, row in summaries.items()]
    write_lines(json_out, [*map(asdict, seen), *lines])


if __name__ == "__main__":
    app = App(name="layout")
    app.default(bench)
    app()
