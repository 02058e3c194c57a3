"""Measure Pix2Pix-Zero's swaps of an object against Prompt-to-Prompt and a plain word swap.

Nothing is picked: seed k takes pair k modulo their number, and real pictures are the first renders
that no training saw (those of benchmarks/real_edits.py). Of each way:

* success: the judge sees the new object and not the old one;
* error: mean absolute difference to the picture before the edit, in levels of 255, outside of the
  old and the new object (dilated).

Pix2Pix-Zero is guided by 1 here, ten times the published step: the model's maps have 16x16 places
at most, where Stable Diffusion's have 64x64, and their difference is a sum.

    python -m benchmarks.pix2pix_zero generated --json-out benchmarks/results/NAME.jsonl
    python -m benchmarks.pix2pix_zero real --json-out benchmarks/results/NAME.jsonl
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean, median
from typing import Any, NamedTuple

import numpy as np
from cyclopts import App
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from underpaint import Method, Pipeline
from underpaint_picturebook.judge import Judge
from underpaint_pix2pix_zero import Pix2PixZero
from underpaint_pix2pix_zero.sentences import swap
from underpaint_prompt_to_prompt import PromptToPrompt

from benchmarks import real_edits
from benchmarks.p2p_quality import difference, grow
from benchmarks.report import write_lines

Pixels = NDArray[np.uint8]

GUIDANCE = 1.0

BATCH = 24
"""Seeds that are shared out among the pairs; those of a pair are edited together."""

app = App(help=__doc__)


class Pair(NamedTuple):
    """What a picture shows, and the words to swap."""

    caption: str
    old: str
    new: str


PAIRS = (
    Pair("a cat on grass", "cat", "dog"),
    Pair("a red bus on the beach", "bus", "car"),
    Pair("a blue bird in the snow", "bird", "fish"),
    Pair("a white mushroom on grass", "mushroom", "tree"),
)


@dataclass(frozen=True)
class Outcome:
    """What came of one edit."""

    way: str
    seed: int
    caption: str
    old: str
    new: str
    success: bool
    error: float
    seconds: float


@dataclass(frozen=True)
class Case:
    """Edits of one pair that are made together: a seed for each, or one real picture."""

    pair: Pair
    seeds: list[int]
    picture: Pixels | None = None

    def call(self, steps: int | None) -> dict[str, Any]:
        """Return what the calls of every way have in common."""
        start = {"seed": self.seeds} if self.picture is None else {"seed": 0}
        return {**start, "num_inference_steps": steps, "record_attention": False}


def measure(
    pipe: Pipeline, judge: Judge, case: Case, steps: int | None, guidance: float
) -> list[Outcome]:
    """Edit every way; the word swap is the target's prompt from pix2pix-zero's noise."""
    pair, count = case.pair, len(case.seeds)
    target = [swap(*pair)] * count
    words = {"source_word": pair.old, "target_word": pair.new}
    zero = Pix2PixZero.model_validate({**words, "attention_guidance": guidance})
    edited: dict[str, tuple[list[str], list[Method]]] = {
        "prompt-to-prompt": (target, [PromptToPrompt.model_validate({"source": pair.caption})]),
        "pix2pix-zero": ([pair.caption] * count, [zero]),
        "word swap": (target, []),
    }
    if case.picture is not None:
        plain = zero.model_copy(update={"regularise": False})
        edited["pix2pix-zero, DDIM inversion"] = ([pair.caption] * count, [plain])
    before: list[Pixels] = [] if case.picture is None else [case.picture]
    path, outcomes = None, []
    for way, (prompt, edits) in edited.items():
        given = {"image": case.picture} if edits else {"trajectory": path}
        started = time.perf_counter()
        result = pipe(prompt, edits=edits, **given, **case.call(steps))
        seconds = (time.perf_counter() - started) / count
        path = result.trajectory
        before = before or [np.asarray(image) for image in result.branches["source"]]
        for seed, was, image in zip(case.seeds, before, result.images, strict=True):
            seen = _look(judge, pair, was, np.asarray(image))
            outcomes.append(Outcome(way, seed, *pair, *seen, seconds))
    return outcomes


def _look(judge: Judge, pair: Pair, before: Pixels, after: Pixels) -> tuple[bool, float]:
    """Return whether the swap is made, and the error around it."""
    was, seen = judge([before, after])
    around = ~grow(was.mask(pair.old) | seen.mask(pair.new) | seen.mask(pair.old))
    made = bool(seen.find(pair.new)) and not seen.find(pair.old)
    return made, difference(before, after, around)


@app.command
def generated(
    *,
    seeds: int = 50,
    steps: int | None = None,
    guidance: float = GUIDANCE,
    engine: str = "pytorch",
    json_out: Path | None = None,
) -> None:
    """Edit pictures that the model makes."""
    chosen = [
        Case(pair, list(range(start + number, min(start + BATCH, seeds), len(PAIRS))))
        for start in range(0, seeds, BATCH)
        for number, pair in enumerate(PAIRS)
    ]
    about = {"kind": "generated", "steps": steps, "guidance": guidance, "engine": engine}
    bench(chosen, about, json_out)


@app.command
def real(
    *,
    seeds: int = 50,
    steps: int | None = None,
    guidance: float = GUIDANCE,
    engine: str = "pytorch",
    json_out: Path | None = None,
) -> None:
    """Edit renders, which are inverted and followed."""
    chosen = [
        Case(Pair(one.made.caption, one.old, one.new), [one.made.seed], one.made.image)
        for one in islice(real_edits.cases(), seeds)
    ]
    about = {"kind": "real", "steps": steps, "guidance": guidance, "engine": engine}
    bench(chosen, about, json_out)


def bench(cases: Sequence[Case], about: Mapping[str, Any], json_out: Path | None) -> None:
    """Edit every case, print a table, and write JSON lines."""
    pipe, judge = Pipeline.from_pretrained("picturebook", about["engine"]), Judge.load()
    outcomes: list[Outcome] = []
    chosen = [case for case in cases if case.seeds]
    for case in track(chosen, "editing", console=Console(stderr=True)):
        outcomes += measure(pipe, judge, case, about["steps"], about["guidance"])
    table = Table("pair", "way", "cases", "success", "error", "s an edit", box=None)
    lines = []
    for pair in ("all", *dict.fromkeys(f"{one.old} to {one.new}" for one in outcomes)):
        if pair != "all" and about["kind"] == "real":
            continue
        for way in dict.fromkeys(one.way for one in outcomes):
            own = [
                one
                for one in outcomes
                if one.way == way and pair in ("all", f"{one.old} to {one.new}")
            ]
            line = {"benchmark": "pix2pix_zero", **about, "pair": pair, "way": way, **_mean(own)}
            lines.append(line)
            shown = (f"{line['success']:.0%}", f"{line['error']:.1f}", f"{line['seconds']:.1f}")
            table.add_row(pair, way, str(line["cases"]), *shown)
    write_lines(json_out, [*lines, *({"case": asdict(one)} for one in outcomes)])
    Console().print(table)


def _mean(own: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "cases": len(own),
        "success": sum(one.success for one in own) / len(own),
        "error": fmean(one.error for one in own),
        "seconds": median(one.seconds for one in own),
    }


if __name__ == "__main__":
    app()
