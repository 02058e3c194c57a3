"""Measure Blended Latent Diffusion as its paper does (arXiv 2206.02779, section 5), on picturebook.

Seed k draws a scene of the model's world (the picture: no method and no model made it), a random
box with sides between a fifth and a half of the picture's, and an object that the scene does not
have. Several predictions are made of each; the judge is the classifier:

Variants differ in the words, and in what stands beside the method:

* alone: the object's name alone ("a cat"), as in the paper;
* place: with the words for the picture's own background ("a cat on grass");
* place and bias: the same, with layout's attention bias in the box (arXiv 2305.03382, 5.3).

What is measured of each:

* batch precision: predictions in whose box the judge sees the object, of all predictions;
* best-result precision: the same of each seed's first prediction, where the scorer ranked them;
* diversity: mean distance of two right predictions of a seed, by the scorer, and by LPIPS (the
  paper's) where a folder with its weights is given;
* background: greatest difference outside of the cells that the box touches (0 when kept exactly),
  and the PSNR there of what the decoder alone gives.
Precision is also given by the shorter side of the box: picturebook never saw an object alone that
takes less than a third of the side, so boxes under 0.3 ask for what it cannot draw whole.

    python -m benchmarks.blended --seeds 100 --json-out benchmarks/results/blended.jsonl
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from underpaint import Method, Pipeline
from underpaint.result import Result
from underpaint_blended_latent_diffusion import BlendedLatentDiffusion
from underpaint_initial_image_editing import LayoutToImage
from underpaint_picturebook.backgrounds import BACKGROUNDS, SIDE
from underpaint_picturebook.judge import Judge
from underpaint_picturebook.objects import OBJECTS
from underpaint_picturebook.world import scene

from benchmarks.diversity import Distance, diversity, load_distances
from benchmarks.report import write_lines

LEAST_INSIDE = 0.5
"""Part of the seen object that lies in the box."""
NARROW = 0.3
"""Shorter side of a box, as a part of the picture's, under which it counts as narrow."""
BIAS = 20.0
"""Layout's attention bias: what its own benchmark takes on this model."""
VARIANTS = ("alone", "place", "place and bias")
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
    place: str
    box: Box

    @property
    def sides(self) -> tuple[float, float, float, float]:
        """The box as fractions of the picture."""
        left, top, right, bottom = (side / SIDE for side in self.box)
        return left, top, right, bottom

    def prompt(self, variant: str) -> str:
        """Return the words of a variant."""
        alone = f"{'an' if self.target[0] in 'aeiou' else 'a'} {self.target}"
        return alone if variant == "alone" else f"{alone} {self.place}".strip()

    def edits(self, variant: str) -> list[Method]:
        """Return the edits of a variant."""
        blended = BlendedLatentDiffusion(box=self.sides)
        if variant != "place and bias":
            return [blended]
        return [LayoutToImage(boxes={self.target: self.sides}, swap=False, bias=BIAS), blended]


@dataclass(frozen=True)
class Outcome:
    """What came of one case."""

    variant: str
    seed: int
    target: str
    box: Box
    right: list[bool]
    ranked: bool
    diversity: dict[str, float | None]
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
    box = (left, top, left + width, top + height)
    return Case(seed, drawn.picture, target, BACKGROUNDS[drawn.background].words[0], box)


def edit(
    pipe: Pipeline, case: Case, variant: str, *, predictions: int, steps: int | None
) -> Result:
    """Make the predictions of a case in one call."""
    return pipe(
        case.prompt(variant),
        image=case.picture,
        edits=case.edits(variant),
        seed=list(range(case.seed * predictions, (case.seed + 1) * predictions)),
        num_images_per_prompt=predictions,
        num_inference_steps=steps,
    )


def judged(judge: Judge, case: Case, images: Sequence[Image.Image]) -> list[bool]:
    """Tell of each image whether the object is seen in the box."""
    left, top, right, bottom = case.box
    found = [verdict.mask(case.target) for verdict in judge(list(images))]
    return [
        bool(mask.any() and mask[top:bottom, left:right].sum() >= LEAST_INSIDE * mask.sum())
        for mask in found
    ]


def measure(
    pipe: Pipeline,
    judge: Judge,
    distances: dict[str, Distance],
    case: Case,
    variant: str,
    *,
    predictions: int,
    steps: int | None,
) -> Outcome:
    """Edit one case and measure what came of it."""
    started = time.perf_counter()
    result = edit(pipe, case, variant, predictions=predictions, steps=steps)
    seconds = time.perf_counter() - started
    right = judged(judge, case, result.images)
    outside = outside_cells(case.box, pipe.engine.info.vae_factor)
    given = np.asarray(case.picture.convert("RGB"))
    edited = [np.asarray(image)[outside].astype(int) for image in result.images]
    decoded = pipe.engine.decode_latents(result.latents.to(pipe.engine.device)).detach()
    return Outcome(
        variant=variant,
        seed=case.seed,
        target=case.target,
        box=case.box,
        right=right,
        ranked=SCORE in result.reports,
        diversity={name: diversity(decoded[right], each) for name, each in distances.items()},
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


def summarise(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the figures of all cases of one variant."""
    ranked = [outcome for outcome in outcomes if outcome.ranked]
    predictions = sum(len(outcome.right) for outcome in outcomes)
    return {
        "summary": "blended",
        "variant": outcomes[0].variant,
        "cases": len(outcomes),
        "predictions": predictions,
        "batch_precision": precision(outcomes),
        "best_result_precision": float(np.mean([o.right[0] for o in ranked])) if ranked else None,
        "precision_narrow": precision([o for o in outcomes if is_narrow(o.box)]),
        "precision_wide": precision([o for o in outcomes if not is_narrow(o.box)]),
        **{
            f"diversity_{name}": mean([outcome.diversity[name] for outcome in outcomes])
            for name in outcomes[0].diversity
        },
        "greatest_outside": max(outcome.greatest_outside for outcome in outcomes),
        "decoder_psnr": float(np.mean([outcome.decoder_psnr for outcome in outcomes])),
        "seconds_per_prediction": sum(o.seconds for o in outcomes) / predictions,
    }


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that there are; None without any."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def precision(outcomes: Sequence[Outcome]) -> float | None:
    """Return the share of right predictions; None without any."""
    return mean([each for outcome in outcomes for each in outcome.right])


def is_narrow(box: Box) -> bool:
    """Tell whether a box is narrower than an object of the model's world."""
    return min(box[2] - box[0], box[3] - box[1]) < NARROW * SIDE


def show(summaries: Sequence[dict[str, Any]]) -> None:
    """Print the figures, a column for each variant."""
    names = [summary["variant"] for summary in summaries]
    table = Table("measure", *names, title="Blended Latent Diffusion")
    for name in summaries[0]:
        values = [summary[name] for summary in summaries]
        cells = [f"{v:.3f}" if isinstance(v, float) else str(v) for v in values]
        if name not in ("summary", "variant"):
            table.add_row(name, *("-" if cell == "None" else cell for cell in cells))
    Console().print(table)


@app.default
def main(
    *,
    seeds: int = 100,
    predictions: int = 4,
    variants: tuple[str, ...] = VARIANTS,
    steps: int | None = None,
    model: str = "picturebook",
    engine: str = "pytorch",
    lpips: Path | None = None,
    json_out: Path | None = None,
) -> None:
    """Edit and judge, print a table and write JSON lines.

    Parameters
    ----------
    seeds : number of cases.
    predictions : images of each case.
    variants : which of them.
    steps : of each image; left out, what the model recommends.
    model, engine : what makes them.
    lpips : a folder with torchvision's SqueezeNet 1.1, as `benchmarks.picturebench` takes it.
    json_out : a file for one JSON line a case and one for all of a variant; written after every
        case, so that a run which is stopped leaves what it measured.
    """
    pipe, judge = Pipeline.from_pretrained(model, engine), Judge.load()
    distances = load_distances(pipe, lpips)
    about = {"model": model, "engine": engine, "steps": steps}
    outcomes: list[Outcome] = []
    summaries: list[dict[str, Any]] = []
    for seed in track(range(seeds), console=Console(stderr=True)):
        case = make_case(seed)
        outcomes += [
            measure(pipe, judge, distances, case, each, predictions=predictions, steps=steps)
            for each in variants
        ]
        by_variant = [[o for o in outcomes if o.variant == name] for name in variants]
        summaries = [{**summarise(own), **about} for own in by_variant]
        write_lines(json_out, [*map(asdict, outcomes), *summaries])
    show(summaries)


if __name__ == "__main__":
    app()
