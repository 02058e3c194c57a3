"""Measure what the guidance of DiffuseIT (arXiv 2209.15264) adds to a start from noised pictures.

Pictures are renders of the picturebook world that no training saw, with one object and no style,
on grass, on the beach or on nothing; case k is the k-th of them, with seed k. By turns they become
a watercolour, or go into the snow; with `--style` they take on the look of a picture at night
instead, under their own caption. Each is made from the same noise without guidance, with the cheap
gradient, and with the full one or with the colours matched in the end. Means are reported of

* structure: the mean square between the self-similarities of the ViT's keys, of the picture and of
  what became of it; less is better kept;
* CLIP: the cosine of the image and the prompt (the picture's own stands under "picture"); with
  `--style` in its place "style": the mean square between [CLS] of the image and the style picture;
* kept: the judge still sees the object; IoU of its mask there with the true one, 0 if it is gone;
* changed: the judge sees the style, or the background, that was asked for.

The guidance goes down the first two with the same networks, so they say that it works; that the
picture is any better is for the last two to say.

    python -m benchmarks.diffuse_it --json-out benchmarks/results/diffuse_it.jsonl
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from cyclopts import App
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from underpaint import Pipeline
from underpaint.run import Scorer
from underpaint_diffuse_it import DiffuseIt
from underpaint_diffuse_it.losses import apart, structure
from underpaint_picturebook.backgrounds import BACKGROUNDS
from underpaint_picturebook.judge import Judge, Verdict
from underpaint_picturebook.train.data import FIRST_TEST_SEED
from underpaint_picturebook.world import Scene, scene

from benchmarks.report import write_lines

SHOWN = ("plain", "grass", "beach")
WAYS: dict[str, dict[str, Any]] = {
    "no guidance": {"scale": 0},
    "cheap": {"gradient": "cheap"},
    "full": {"gradient": "full"},
}
"""To a text; and to a style picture, with its colours given to the result in the end, or not."""

STYLE_WAYS: dict[str, dict[str, Any]] = {
    "no guidance": {"scale": 0, "match_colours": False},
    "cheap": {"gradient": "cheap", "match_colours": False},
    "no guidance, colours": {"scale": 0},
    "cheap, colours": {"gradient": "cheap"},
}


@dataclass(frozen=True)
class Case:
    """A picture, what it becomes, and what the judge then should see."""

    made: Scene
    prompt: str
    wanted: str


@dataclass(frozen=True)
class Outcome:
    """What came of one picture one way."""

    way: str
    seed: int
    prompt: str
    structure: float
    clip: float
    style: float
    kept: bool
    iou: float
    changed: bool
    seconds: float


def cases(style: bool) -> Iterator[Case]:
    """Yield the pictures in order, watercolours and snow by turns, or with their own captions."""
    seed, count = FIRST_TEST_SEED, 0
    while True:
        made = scene(seed)
        seed += 1
        if len(made.objects) != 1 or made.style != "none" or made.background not in SHOWN:
            continue
        text = made.caption.removeprefix("a picture of ")
        if style:
            yield Case(made, made.caption, "night")
        elif count % 2 == 0:
            yield Case(made, f"a watercolour of {text}", "watercolour")
        else:
            yield Case(made, f"{without_place(text)} in the snow", "snow")
        count += 1


def without_place(text: str) -> str:
    """Return a caption without the words for its background."""
    for words in (words for name in SHOWN for words in BACKGROUNDS[name].words if words):
        text = text.removesuffix(f" {words}")
    return text


def style_picture() -> Scene:
    """Return the first unseen scene with one object, no style, at night."""
    seed = FIRST_TEST_SEED
    while True:
        made = scene(seed)
        if len(made.objects) == 1 and made.style == "none" and made.background == "night":
            return made
        seed += 1


def to_pixels(image: Any) -> Tensor:
    """Return a picture as ``[1, 3, H, W]`` in [0, 1]."""
    return torch.tensor(np.asarray(image)).permute(2, 0, 1)[None] / 255


@torch.no_grad()
def measure(scorer: Scorer, case: Case, image: Any, look: Tensor) -> dict[str, Any]:
    """Return what the networks of the guidance say of an image."""
    pixels = to_pixels(image)
    source, _ = scorer.vit_features(to_pixels(case.made.image))
    keys, cls = scorer.vit_features(pixels)
    cosine = (scorer.image_features(pixels) * scorer.text_features([case.prompt])).sum()
    return {
        "structure": float(structure(keys, source)),
        "clip": float(cosine),
        "style": float(apart(cls, scorer.vit_features(look)[1])),
    }


def look_at(case: Case, verdict: Verdict) -> dict[str, Any]:
    """Return what the judge says of an image."""
    item = case.made.objects[0]
    mask = verdict.mask(item.name)
    return {
        "kept": verdict.find(item.name) is not None,
        "iou": float((mask & item.mask).sum() / (mask | item.mask).sum()),
        "changed": case.wanted in (verdict.style, verdict.background),
    }


def summarise(way: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the means of one way."""
    own = [each for each in outcomes if each.way == way]
    names = ("structure", "clip", "style", "kept", "iou", "changed", "seconds")
    means = {name: fmean(float(getattr(each, name)) for each in own) for name in names}
    return {"benchmark": "diffuse_it", "way": way, "cases": len(own), **means}


def show(lines: Sequence[Mapping[str, Any]]) -> None:
    """Print a row for each way."""
    names = ("structure", "CLIP", "style", "kept", "IoU", "changed", "s a picture")
    table = Table("way", *names, box=None)
    for line in lines:
        table.add_row(
            line["way"],
            f"{line['structure']:.4f}",
            f"{line['clip']:.3f}",
            f"{line['style']:.2f}",
            f"{line['kept']:.0%}",
            f"{line['iou']:.2f}",
            f"{line['changed']:.0%}",
            f"{line['seconds']:.1f}",
        )
    Console().print(table)


def bench(
    *,
    engine: str = "pytorch",
    seeds: int = 50,
    steps: int = 15,
    strength: float = 0.6,
    style: bool = False,
    json_out: Path | None = None,
) -> None:
    """Translate so many pictures every way, print a table, and write JSON lines.

    Parameters
    ----------
    engine : what paints.
    seeds : how many pictures, from seed 0 upward.
    steps : of the whole noise range; the strength leaves out the first of them.
    strength : of the method.
    style : translate to a style picture in place of a text.
    json_out : a file for one JSON line a picture and one for each way.
    """
    pipe, judge = Pipeline.from_pretrained("picturebook", engine), Judge.load()
    scorer, source, outcomes = pipe.engine.scorer(), cases(style), list[Outcome]()
    assert scorer is not None
    look, ways = style_picture().picture, STYLE_WAYS if style else WAYS
    with TemporaryDirectory() as folder:
        file = Path(folder) / "style.png"
        look.save(file)
        asked = {"strength": strength} | ({"style_image": file} if style else {})
        for seed in track(range(seeds), "translating", console=Console(stderr=True)):
            case = next(source)
            for way, values in {"picture": None, **ways}.items():
                started = time.perf_counter()
                image = case.made.picture
                if values is not None:
                    edit = DiffuseIt.model_validate(asked | values)
                    image = translate(pipe, edit, case, seed, steps)
                seconds = time.perf_counter() - started
                measured = measure(scorer, case, image, to_pixels(look))
                seen = look_at(case, judge([image])[0])
                outcomes.append(
                    Outcome(
                        way=way, seed=seed, prompt=case.prompt, seconds=seconds, **measured, **seen
                    )
                )
    lines = [summarise(way, outcomes) for way in ("picture", *ways)]
    show(lines)
    about = {"engine": engine, "steps": steps, "strength": strength, "guided by": "text"}
    about |= {"guided by": "style picture"} if style else {}
    write_lines(json_out, [*map(asdict, outcomes), *({**line, **about} for line in lines)])


def translate(pipe: Pipeline, edit: DiffuseIt, case: Case, seed: int, steps: int) -> Image.Image:
    """Return one image."""
    made: Image.Image = pipe(
        case.prompt,
        image=case.made.image,
        edits=[edit],
        seed=seed,
        num_inference_steps=steps,
        record_attention=False,
    ).images[0]
    return made


if __name__ == "__main__":
    app = App(name="diffuse_it", help=__doc__)
    app.default(bench)
    app()
