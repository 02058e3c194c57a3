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
from typing import Any, NamedTuple

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

LEFT, RIGHT = (0.0, 0.25, 0.5, 0.8), (0.5, 0.25, 1.0, 0.8)
ABOVE, BELOW = (0.25, 0.0, 0.75, 0.5), (0.25, 0.5, 0.75, 1.0)


class Scene(NamedTuple):
    """A prompt, a box for each object that it names, and whether the words give these places.

    In the world that picturebook was trained on, places follow from the words: of two objects the
    first stands on the left, and one alone in the middle. `usual` boxes agree with that, and the
    others ask for what the model was never shown.
    """

    prompt: str
    boxes: dict[str, Box]
    usual: bool


SCENES = (
    Scene("a cat and a bus", {"cat": LEFT, "bus": RIGHT}, True),
    Scene("a boat and a heart", {"boat": LEFT, "heart": RIGHT}, True),
    Scene("a cat on grass", {"cat": LEFT}, False),
    Scene("a bus on the beach", {"bus": RIGHT}, False),
    Scene("a cake in the snow", {"cake": ABOVE}, False),
    Scene("a fish on the water", {"fish": BELOW}, False),
    Scene("a cat and a bus", {"cat": RIGHT, "bus": LEFT}, False),
    Scene("a house and a star", {"house": RIGHT, "star": LEFT}, False),
    Scene("a dog and a tree", {"dog": ABOVE, "tree": BELOW}, False),
    Scene("a bird and a flower", {"bird": BELOW, "flower": ABOVE}, False),
)


@dataclass(frozen=True)
class Seen:
    """One object of one picture."""

    variant: str
    seed: int
    prompt: str
    usual: bool
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
                    Seen(
                        name, seed, scene.prompt, scene.usual, word, box, *look(verdict, word, box)
                    )
                    for seed, verdict in zip(seeds, judge(pictures), strict=True)
                    for word, box in scene.boxes.items()
                ]


def summarise(seen: Sequence[Seen]) -> dict[str, float]:
    """Return the shares of some objects."""
    return {
        "objects": len(seen),
        "found": fmean(one.found for one in seen),
        "centre": fmean(one.centre for one in seen),
        "iou": fmean(one.iou for one in seen),
    }


def show(summaries: Sequence[Mapping[str, Any]]) -> None:
    """Print a row for each kind of layout and variant."""
    table = Table("layout", "variant", "objects", "found", "centre in the box", "IoU with the box")
    for row in summaries:
        shares = [f"{row[key]:.0%}" for key in ("found", "centre")]
        table.add_row(
            row["layout"], row["variant"], str(row["objects"]), *shares, f"{row['iou']:.2f}"
        )
    Console().print(table)


def bench(
    *,
    model: str = "picturebook",
    engine: str = "pytorch",
    seeds: int = 100,
    steps: int | None = None,
    rule: Rule = "threshold",
    bias: float = 20.0,
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
    groups = dict.fromkeys((one.usual, one.variant) for one in seen)
    summaries = [
        {
            "layout": "usual" if usual else "unusual",
            "variant": variant,
            **summarise([one for one in seen if (one.usual, one.variant) == (usual, variant)]),
        }
        for usual, variant in groups
    ]
    show(summaries)
    about = {"model": model, "engine": engine, "rule": rule, "bias": bias, "steps": steps}
    lines = [{"summary": "layout", **row, **about} for row in summaries]
    write_lines(json_out, [*map(asdict, seen), *lines])


if __name__ == "__main__":
    app = App(name="layout")
    app.default(bench)
    app()
