"""Measure Blended Latent Diffusion as its paper does (arXiv 2206.02779, section 5), on picturebook.

Seed k draws a scene of the model's world (the picture: no method and no model made it), a random
box with sides between a fifth and a half of the picture's, and an object that the scene does not
have. Several predictions are made of each; the judge is the classifier:

* batch precision: predictions in whose box the judge sees the object, of all predictions;
* best-result precision: the same of each seed's first prediction, where the scorer ranked them;
* diversity: mean distance (by the scorer) of two right predictions of a seed;
* background: greatest difference outside of the cells that the box touches (0 when kept exactly),
  and the PSNR there of what the decoder alone gives.

    python -m benchmarks.blended --seeds 100 --json-out benchmarks/results/blended.jsonl
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from cyclopts import App
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from underpaint import Pipeline
from underpaint.result import Result
from underpaint_blended_latent_diffusion import BlendedLatentDiffusion
from underpaint_picturebook.backgrounds import SIDE
from underpaint_picturebook.judge import Judge
from underpaint_picturebook.objects import OBJECTS
from underpaint_picturebook.world import scene

from benchmarks.report import write_lines

LEAST_INSIDE = 0.5
"""Part of the seen object that lies in the box."""
SCORE = "blended-latent-diffusion.score"

app = App(help=__doc__, result_action="return_value")

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""


@dataclass(frozen=True)
class Case:
    """A scene, and what is to be painted where."""

    seed: int
    picture: Image.Image
    target: str
    prompt: str
    box: Box


@dataclass(frozen=True)
class Outcome:
    """What came of one case."""

    seed: int
    target: str
    box: Box
    right: list[bool]
    ranked: bool
    diversity: float | None
    greatest_outside: int
    decoder_psnr: float
    seconds: float


def make_case(seed: int) -> Case:
    """Draw the case of a seed."""
    drawn, rng = scene(seed), random.Random(seed)  # noqa: S311 - a fixed draw, not a secret
    there = {each.name for each in drawn.objects}
    target = rng.choice([name for name in OBJECTS if name not in there])
    width, height = (rng.randint(SIDE // 5, SIDE // 2) for _ in "xy")
    left, top = rng.randint(0, SIDE - width), rng.randint(0, SIDE - height)
    article = "an" if target[0] in "aeiou" else "a"
    box = (left, top, left + width, top + height)
    return Case(seed, drawn.picture, target, f"{article} {target}", box)


def edit(pipe: Pipeline, case: Case, predictions: int, steps: int | None) -> Result:
    """Make the predictions of a case in one call."""
    left, top, right, bottom = (side / SIDE for side in case.box)
    method = BlendedLatentDiffusion(box=(left, top, right, bottom))
    seeds = list(range(case.seed * predictions, (case.seed + 1) * predictions))
    return pipe(
        case.prompt, image=case.picture, edits=[method], seed=seeds,
        num_images_per_prompt=predictions, num_inference_steps=steps,
    )  # fmt: skip


def judged(judge: Judge, case: Case, images: Sequence[Image.Image]) -> list[bool]:
    """Tell of each image whether the object is seen in the box."""
    left, top, right, bottom = case.box
    found = [verdict.mask(case.target) for verdict in judge(list(images))]
    return [
        bool(mask.any()) and mask[top:bottom, left:right].sum() >= LEAST_INSIDE * mask.sum()
        for mask in found
    ]


def measure(
    pipe: Pipeline, judge: Judge, case: Case, predictions: int, steps: int | None
) -> Outcome:
    """Edit one case and measure what came of it."""
    started = time.perf_counter()
    result = edit(pipe, case, predictions, steps)
    seconds = time.perf_counter() - started
    right = judged(judge, case, result.images)
    outside = outside_cells(case.box, pipe.engine.info.vae_factor)
    given = np.asarray(case.picture.convert("RGB"))
    edited = [np.asarray(image)[outside].astype(int) for image in result.images]
    decoded = pipe.engine.decode_latents(result.latents.to(pipe.engine.device)).detach()
    return Outcome(
        seed=case.seed,
        target=case.target,
        box=case.box,
        right=right,
        ranked=SCORE in result.reports,
        diversity=diversity(pipe, decoded[right]),
        greatest_outside=max(int(np.abs(each - given[outside]).max()) for each in edited),
        decoder_psnr=psnr(decoded, given, outside),
        seconds=seconds,
    )


def outside_cells(box: Box, cell: int) -> NDArray[np.bool_]:
    """Return the pixels of the cells that a box does not touch."""
    left, top, right, bottom = box
    outside = np.ones((SIDE, SIDE), dtype=np.bool_)
    rows, columns = (
        slice(start // cell * cell, -(-end // cell) * cell)
        for start, end in ((top, bottom), (left, right))
    )
    outside[rows, columns] = False
    return outside


def psnr(decoded: Tensor, given: NDArray[np.uint8], where: NDArray[np.bool_]) -> float:
    """Return the PSNR in dB of decoded images ``[I, 3, H, W]`` against the picture."""
    picture = torch.from_numpy(given.copy()).permute(2, 0, 1).to(decoded) / 255
    error = (decoded.clamp(0, 1) - picture).square()[..., torch.from_numpy(where)]
    return float(-10 * error.mean().log10())


def diversity(pipe: Pipeline, images: Tensor) -> float | None:
    """Return the mean distance of two images; None without two, or without a scorer."""
    measure_distance = getattr(scorer_of(pipe), "distance", None)
    if measure_distance is None or len(images) < 2:
        return None
    first, second = (list(each) for each in zip(*combinations(images.clamp(0, 1), 2), strict=True))
    with torch.no_grad():
        return float(measure_distance(torch.stack(first), torch.stack(second)).mean())


def scorer_of(pipe: Pipeline) -> object:
    """Return the pipeline's scorer, or the model's own; None where there is none."""
    offered = getattr(pipe.engine, "scorer", None)
    return pipe.scorer or (offered() if offered else None)


def summarise(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the figures of all cases."""
    all_right = [right for outcome in outcomes for right in outcome.right]
    ranked = [outcome for outcome in outcomes if outcome.ranked]
    distances = [outcome.diversity for outcome in outcomes if outcome.diversity is not None]
    return {
        "summary": "blended",
        "cases": len(outcomes),
        "predictions": len(all_right),
        "batch_precision": float(np.mean(all_right)),
        "best_result_precision": float(np.mean([o.right[0] for o in ranked])) if ranked else None,
        "diversity": float(np.mean(distances)) if distances else None,
        "greatest_outside": max(outcome.greatest_outside for outcome in outcomes),
        "decoder_psnr": float(np.mean([outcome.decoder_psnr for outcome in outcomes])),
        "seconds_per_prediction": sum(o.seconds for o in outcomes) / len(all_right),
    }


def show(summary: dict[str, Any]) -> None:
    """Print the figures."""
    table = Table("measure", "value", title="Blended Latent Diffusion")
    for name, value in summary.items():
        text = f"{value:.3f}" if isinstance(value, float) else str(value)
        table.add_row(name, "-" if value is None else text)
    Console().print(table)


def lines(outcomes: Sequence[Outcome], summary: dict[str, Any]) -> Iterator[dict[str, object]]:
    """Yield a line for each case and one for all."""
    yield from (cast("dict[str, object]", asdict(outcome)) for outcome in outcomes)
    yield summary


@app.default
def main(
    *,
    seeds: int = 100,
    predictions: int = 4,
    steps: int | None = None,
    model: str = "picturebook",
    engine: str = "pytorch",
    json_out: Path | None = None,
) -> None:
    """Edit and judge, print a table and write JSON lines.

    Parameters
    ----------
    seeds : number of cases.
    predictions : images of each case.
    steps : of each image; left out, what the model recommends.
    model, engine : what makes them.
    json_out : a file for one JSON line a case and one for all.
    """
    pipe, judge = Pipeline.from_pretrained(model, engine), Judge.load()
    console = Console(stderr=True)
    cases = [make_case(seed) for seed in range(seeds)]
    outcomes = [
        measure(pipe, judge, case, predictions, steps) for case in track(cases, console=console)
    ]
    summary = {**summarise(outcomes), "model": model, "engine": engine, "steps": steps}
    show(summary)
    write_lines(json_out, lines(outcomes, summary))


if __name__ == "__main__":
    app()
