"""``python -m underpaint_picturebook.evaluate_clip``: measure CLIP on scenes it never saw.

Prints a markdown table. Every picture goes through the scorer that methods use. Zero-shot: of
several prompts, the one nearest to the picture is the answer.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from torch import Tensor
from underpaint_engines.scorer import ClipScorer, load

from underpaint_picturebook import model, parts
from underpaint_picturebook.backgrounds import BACKGROUNDS, SIMPLE
from underpaint_picturebook.evaluate import Record, score
from underpaint_picturebook.judge import Judge
from underpaint_picturebook.objects import OBJECTS
from underpaint_picturebook.palette import COLOURS
from underpaint_picturebook.styles import STYLES
from underpaint_picturebook.train.data import FIRST_TEST_SEED
from underpaint_picturebook.train.views import around
from underpaint_picturebook.world import Scene, SceneObject, scene

POOL = 100
"""Pictures among which a caption has to find its own, and captions for a picture."""
DRAWN = 24
"""Pictures drawn and ranked for a prompt, as in Blended Latent Diffusion (arXiv 2206.02779)."""
MARGIN = 0.1
"""Of the box that a masked picture shows, as a share of the object's box."""

Pixels = NDArray[np.uint8]
Question = tuple[Pixels, list[str], int]
"""A picture, prompts, and which of them is right."""


def to_images(pictures: Sequence[Pixels]) -> Tensor:
    """Turn uint8 [256, 256, 3] pictures into images [B, 3, 256, 256] in [0, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def retrieval(scorer: ClipScorer, scenes: Sequence[Scene]) -> dict[str, float]:
    """Return how often a caption finds its picture, and a picture its caption, of `POOL`."""
    right = []
    for start in range(0, len(scenes) - POOL + 1, POOL):
        pool = scenes[start : start + POOL]
        images = scorer.image_features(to_images([item.image for item in pool]))
        cosines = scorer.text_features([item.caption for item in pool]) @ images.T
        own = torch.arange(POOL)
        right.append([float((cosines.argmax(dim) == own).float().mean()) for dim in (1, 0)])
    by_text, by_image = np.mean(right, axis=0)
    return {
        f"a caption finds its picture, 1 of {POOL}": float(by_text),
        f"a picture finds its caption, 1 of {POOL}": float(by_image),
    }


def zero_shot(scorer: ClipScorer, questions: Sequence[Question]) -> float:
    """Return the share of the questions that the nearest prompt answers."""
    right = []
    for start in range(0, len(questions), POOL):
        pictures, prompts, answers = zip(*questions[start : start + POOL], strict=True)
        images = scorer.image_features(to_images(pictures))
        own = sorted({prompt for row in prompts for prompt in row})
        texts = dict(zip(own, scorer.text_features(own), strict=True))
        for image, row, answer in zip(images, prompts, answers, strict=True):
            cosines = torch.stack([texts[prompt] for prompt in row]) @ image
            right.append(int(cosines.argmax()) == answer)
    return float(np.mean(right))


def _object(picture: Pixels, item: SceneObject) -> Question:
    return picture, [f"a {name}" for name in OBJECTS], list(OBJECTS).index(item.name)


def _colour(picture: Pixels, item: SceneObject) -> Question:
    prompts = [f"a {colour} {item.name}" for colour in COLOURS]
    return picture, prompts, list(COLOURS).index(item.colour)


def _masked(made: Scene, item: SceneObject) -> Pixels:
    return made.image * around(item.box, MARGIN)[..., None]


def _background(made: Scene) -> Question:
    subject = " and ".join(f"a {item.name}" for item in made.objects)
    prompts = [f"{subject} {BACKGROUNDS[name].words[0]}".strip() for name in SIMPLE]
    return made.image, prompts, SIMPLE.index(made.background)


def _style(made: Scene) -> Question:
    subject = " and ".join(f"a {item.name}" for item in made.objects)
    words = ("", "a pencil sketch of ", "a watercolour of ", "pixel art of ")
    return made.image, [start + subject for start in words], ["none", *STYLES].index(made.style)


def _relation(made: Scene) -> Question:
    words = "to the left of" if made.relation == "left" else "above"
    (first, second) = (f"a {item.colour} {item.name}" for item in made.objects)
    return made.image, [f"{first} {words} {second}", f"{second} {words} {first}"], 0


def _colours_bound(made: Scene) -> Question:
    one, two = made.objects
    right = f"a {one.colour} {one.name} and a {two.colour} {two.name}"
    return made.image, [right, f"a {two.colour} {one.name} and a {one.colour} {two.name}"], 0


def answers(scorer: ClipScorer, scenes: Sequence[Scene]) -> dict[str, float]:
    """Return the zero-shot measures on some scenes."""
    single = [item for item in scenes if len(item.objects) == 1]
    pairs = [item for item in scenes if len(item.objects) == 2]
    every = [(made, item) for made in scenes for item in made.objects]
    two_colours = [m for m in pairs if m.objects[0].colour != m.objects[1].colour]
    questions = {
        "class of a single object, of 16": [_object(m.image, m.objects[0]) for m in single],
        "class of an object, all else zeroed": [_object(_masked(m, o), o) for m, o in every],
        "its colour, of 10": [_colour(m.image, m.objects[0]) for m in single],
        "its colour, all else zeroed": [_colour(_masked(m, o), o) for m, o in every],
        "background, of 6": [_background(m) for m in scenes if m.background in SIMPLE],
        "style, of 4": [_style(m) for m in scenes],
        "which of two objects has which colour": [_colours_bound(m) for m in two_colours],
        "which of two objects is left or above": [_relation(m) for m in pairs],
    }
    return {name: zero_shot(scorer, asked) for name, asked in questions.items()}


def ranking(
    scorer: ClipScorer, pipe: StableDiffusionPipeline, judge: Judge, scenes: Sequence[Scene]
) -> dict[str, float]:
    """Draw `DRAWN` pictures of each caption and compare their order with the judge's verdicts.

    Without guidance, as then many pictures miss something. A picture is right if the judge finds
    every named object, with its named colour, on the stated background.
    """
    all_right, first_right, above = [], [], []
    for wanted in scenes:
        generator = torch.Generator().manual_seed(wanted.seed)
        drawn = pipe(
            [wanted.caption] * DRAWN, num_inference_steps=12, guidance_scale=1.0,
            generator=generator,
        ).images  # fmt: skip
        right = np.array([_is_right(score(wanted, verdict)) for verdict in judge(drawn)])
        images = scorer.image_features(to_images([np.asarray(picture) for picture in drawn]))
        cosines = (images @ scorer.text_features([wanted.caption])[0]).numpy()
        all_right.append(right.mean())
        first_right.append(right[cosines.argmax()])
        if 0 < right.sum() < DRAWN:
            above.append((cosines[right][:, None] > cosines[~right]).mean())
    return {
        "generated without guidance: right in the judge's eyes": float(np.mean(all_right)),
        f"the same of the first-ranked of {DRAWN}": float(np.mean(first_right)),
        "a right one ranks above a wrong one": float(np.mean(above)),
    }


def _is_right(record: Record) -> bool:
    kept = record["relation"] is not False and record["background"] is not False
    return kept and all(record["found"]) and all(record["colours"])


def table(columns: dict[str, dict[str, float]]) -> str:
    """Return a markdown table; not every column has every measure."""
    rows = dict.fromkeys(name for column in columns.values() for name in column)
    lines = [f"| measure | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name in rows:
        cells = [f"{c[name]:.3f}" if name in c else "" for c in columns.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


@torch.no_grad()
def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m underpaint_picturebook.evaluate_clip")
    parser.add_argument("--checkpoint", type=Path, default=model())
    parser.add_argument("--scenes", type=int, default=500)
    parser.add_argument("--ranked", type=int, default=10, help="prompts to draw pictures for")
    args = parser.parse_args()
    scorer = load(args.checkpoint, torch.device("cpu"))
    seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + args.scenes)
    seen = [scene(seed) for seed in seeds]
    columns = {
        "fresh scenes": {**retrieval(scorer, seen), **answers(scorer, seen)},
        "pairs never shown": answers(scorer, [scene(seed, held_out=True) for seed in seeds]),
    }
    if args.ranked:
        pipe, judge = parts.load(args.checkpoint), Judge.load()
        columns["fresh scenes"] |= ranking(scorer, pipe, judge, seen[: args.ranked])
    print(table(columns))


if __name__ == "__main__":
    main()
