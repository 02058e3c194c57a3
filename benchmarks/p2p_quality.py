"""Measure whether a word swap with Prompt-to-Prompt changes the object and nothing else.

Fixed prompt pairs, seeds from 0 upward. A case is kept if the *plain* picture of the target prompt
and seed shows the new object and not the old one, as the judge sees it: nothing is picked by hand,
and no method is used to pick. Each case is then edited, without LocalBlend:

* success: the edited picture shows the new object and not the old one;
* spill: mean absolute difference to the source picture, in levels of 255, outside of the objects
  (old in the source, new in the edit and in the plain picture; dilated), for the edit and for the
  plain picture of the same seed, which is the same prompt without Prompt-to-Prompt.

    python -m benchmarks.p2p_quality --json-out benchmarks/results/p2p_quality.jsonl
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from cyclopts import App
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from underpaint import Pipeline
from underpaint.commands.machine import processor
from underpaint_picturebook.judge import Judge
from underpaint_prompt_to_prompt import PromptToPrompt

from benchmarks.report import write_lines

CASES = 50
LEAST_SUCCESS = 0.8
GREATEST_SPILL = 1 / 3
MARGIN = 8
"""Pixels by which the objects' masks grow before the difference around them is taken."""

app = App(help=__doc__)

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]


class Pair(NamedTuple):
    """A word swap, and the objects that the judge looks for."""

    source: str
    target: str
    old: str
    new: str


PAIRS = (
    Pair("a cat on grass", "a dog on grass", "cat", "dog"),
    Pair("a red bus on the beach", "a red car on the beach", "bus", "car"),
    Pair("a blue bird in the snow", "a blue fish in the snow", "bird", "fish"),
    Pair("a yellow flower on grass", "a yellow star on grass", "flower", "star"),
    Pair("a white mushroom on grass", "a white tree on grass", "mushroom", "tree"),
    Pair("a green house at night", "a green boat at night", "house", "boat"),
    Pair("an orange ball on the beach", "an orange heart on the beach", "ball", "heart"),
    Pair("a pink cake in the snow", "a pink umbrella in the snow", "cake", "umbrella"),
    Pair(
        "a brown dog and a red ball on grass", "a brown cat and a red ball on grass", "dog", "cat"
    ),
    Pair("a purple fish on the water", "a purple boat on the water", "fish", "boat"),
)
"""Seed k takes pair k modulo their number."""


@dataclass(frozen=True)
class Candidate:
    """A seed whose plain target picture is right."""

    seed: int
    pair: Pair
    plain: Pixels
    plain_mask: Mask


@dataclass(frozen=True)
class Case:
    """What came of one edit; spills are in levels of 255."""

    seed: int
    source: str
    target: str
    success: bool
    sees: list[str]
    spill: float
    plain_spill: float


@dataclass(frozen=True)
class Bench:
    """The model, the judge, and how pictures are made."""

    pipe: Pipeline
    judge: Judge
    method: dict[str, Any]
    call: dict[str, Any]

    def candidates(self, wanted: int, chunk: int) -> Iterator[Candidate]:
        """Yield the first `wanted` seeds whose plain target picture the judge accepts."""
        found = 0
        for start in range(0, 20 * wanted, chunk):
            seeds = list(range(start, start + chunk))
            pairs = [PAIRS[seed % len(PAIRS)] for seed in seeds]
            pictures = self.draw([pair.target for pair in pairs], seeds)
            for seed, pair, picture, verdict in zip(
                seeds, pairs, pictures, self.judge(pictures), strict=True
            ):
                if verdict.find(pair.new) and not verdict.find(pair.old):
                    yield Candidate(seed, pair, picture, verdict.mask(pair.new))
                    found += 1
                    if found == wanted:
                        return
        raise SystemExit(f"Only {found} of {20 * wanted} seeds give a right plain picture.")

    def edit(self, part: Sequence[Candidate]) -> list[Case]:
        """Edit candidates of one pair in one call."""
        pair = part[0].pair
        edit = PromptToPrompt(source=pair.source, **self.method)
        seeds = [one.seed for one in part]
        prompts = [pair.target] * len(part)
        result = self.pipe(prompts, edits=[edit], seed=seeds, record_attention=False, **self.call)
        sources, edits = _pixels(result.branches["source"]), _pixels(result.images)
        cases = []
        for one, source, edited, before, after in zip(
            part, sources, edits, self.judge(sources), self.judge(edits), strict=True
        ):
            objects = before.mask(pair.old) | after.mask(pair.new) | one.plain_mask
            around = ~grow(objects)
            cases.append(
                Case(
                    seed=one.seed,
                    source=pair.source,
                    target=pair.target,
                    success=bool(after.find(pair.new)) and not after.find(pair.old),
                    sees=list(after.classes),
                    spill=difference(edited, source, around),
                    plain_spill=difference(one.plain, source, around),
                )
            )
        return cases

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Pixels]:
        """Draw pictures without any method."""
        return _pixels(self.pipe(list(prompts), seed=list(seeds), **self.call).images)


def grow(mask: Mask) -> Mask:
    """Return a mask dilated by MARGIN pixels."""
    field = torch.from_numpy(mask)[None, None].float()
    grown = F.max_pool2d(field, 2 * MARGIN + 1, stride=1, padding=MARGIN)
    return cast("Mask", (grown[0, 0] > 0).numpy())


def difference(a: Pixels, b: Pixels, where: Mask) -> float:
    """Return the mean absolute difference of two pictures where the mask is set."""
    return float(np.abs(a.astype(np.float64) - b)[where].mean()) if where.any() else float("nan")


def summarise(cases: Sequence[Case], seconds: float, about: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of all cases with what they were made with."""
    spill, plain = (np.nanmean([getattr(c, k) for c in cases]) for k in ("spill", "plain_spill"))
    return {
        "summary": "p2p_quality",
        "cases": len(cases),
        "success": sum(case.success for case in cases) / len(cases),
        "spill": float(spill),
        "plain_spill": float(plain),
        "spill_ratio": float(spill / plain),
        "seconds": seconds,
        **about,
    }


def show(cases: Sequence[Case], summary: dict[str, Any]) -> None:
    """Print a row for each pair and one for all."""
    table = Table(title=f"Prompt-to-Prompt word swaps: {summary['model']}, {processor()[0]}")
    for column in ("pair", "cases", "success", "spill", "spill without P2P", "ratio"):
        table.add_column(column, justify="left" if column == "pair" else "right")
    for pair in PAIRS:
        part = [case for case in cases if case.source == pair.source]
        if part:
            row = summarise(part, 0, {})
            table.add_row(f"{pair.source} -> {pair.new}", *_cells(row))
    table.add_section()
    table.add_row("all", *_cells(summary), style="bold")
    table.add_row(
        "bar", "", f">= {LEAST_SUCCESS:.0%}", "", "", f"< {GREATEST_SPILL:.2f}", style="dim"
    )
    Console().print(table)


@app.default
def main(
    *,
    model: str = "picturebook",
    engine: str = "pytorch",
    limit: int = CASES,
    steps: int | None = None,
    guidance_scale: float | None = None,
    cross_replace: float | None = None,
    self_replace: float | None = None,
    json_out: Path | None = None,
) -> int:
    """Edit word swaps and count what came of them; exits 1 where a bar is missed.

    Parameters
    ----------
    model : an installed model or a diffusers folder.
    engine : what runs it.
    limit : number of cases.
    steps, guidance_scale : of all pictures; left out, what the model recommends.
    cross_replace, self_replace : of the method; left out, its defaults.
    json_out : a file for one JSON line a case and one for all.
    """
    given = {"cross_replace": cross_replace, "self_replace": self_replace}
    method: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    pipe = Pipeline.from_pretrained(model, engine)
    info = pipe.engine.info
    call = {
        "num_inference_steps": info.num_inference_steps if steps is None else steps,
        "guidance_scale": info.guidance_scale if guidance_scale is None else guidance_scale,
    }
    run = Bench(pipe, Judge.load(), method, call)
    started = time.perf_counter()
    cases = _run(run, limit)
    settings = PromptToPrompt(source="-", **method).model_dump(mode="json", exclude={"source"})
    about = {"model": model, "engine": engine, **call, "method": settings}
    summary = summarise(cases, time.perf_counter() - started, about)
    show(cases, summary)
    write_lines(json_out, [*map(asdict, cases), summary])
    good = summary["success"] >= LEAST_SUCCESS and summary["spill_ratio"] < GREATEST_SPILL
    return 0 if good else 1


def _run(run: Bench, limit: int) -> list[Case]:
    rows = run.pipe.engine.max_rows
    with Progress(console=Console(stderr=True)) as progress:
        looking = progress.add_task("plain pictures", total=limit)
        found = []
        for candidate in run.candidates(limit, chunk=max(rows // 2, 1)):
            found.append(candidate)
            progress.advance(looking)
        editing = progress.add_task("edits", total=limit)
        cases: list[Case] = []
        for pair in PAIRS:
            part = [one for one in found if one.pair is pair]
            size = max(rows // 4, 1)  # an image, its source, and a half of guidance each
            for start in range(0, len(part), size):
                cases += run.edit(part[start : start + size])
                progress.update(editing, completed=len(cases))
    return cases


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(row["cases"]),
        f"{row['success']:.0%}",
        f"{row['spill']:.2f}",
        f"{row['plain_spill']:.2f}",
        f"{row['spill_ratio']:.2f}",
    )


def _pixels(images: Sequence[Any]) -> list[Pixels]:
    return [np.asarray(image.convert("RGB")) for image in images]


if __name__ == "__main__":
    app()  # which exits with what `main` returns
