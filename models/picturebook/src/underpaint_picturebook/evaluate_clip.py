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
Question = tuple[Tensor, list[str], int]
"""A picture's features, prompts, and which of them is right."""


def features(scorer: ClipScorer, pictures: Sequence[Pixels]) -> Tensor:
    """Return the features [B, D] of uint8 [256, 256, 3] pictures."""
    parts_ = [pictures[start : start + POOL] for start in range(0, len(pictures), POOL)]
    images = [torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2) / 255 for part in parts_]
    return torch.cat([scorer.image_features(each) for each in images])


def retrieval(scorer: ClipScorer, scenes: Sequence[Scene], whole: Tensor) -> dict[str, float]:
    """Return how often a caption finds its picture, and a picture its caption, of `POOL`."""
    right = []
    own = torch.arange(POOL)
    for start in range(0, len(scenes) - POOL + 1, POOL):
        pool = slice(start, start + POOL)
        cosines = scorer.text_features([item.caption for item in scenes[pool]]) @ whole[pool].T
        right.append([float((cosines.argmax(dim) == own).float().mean()) for dim in (1, 0)])
    by_text, by_image = np.mean(right, axis=0)
    return {
        f"a caption finds its picture, 1 of {POOL}": float(by_text),
        f"a picture finds its caption, 1 of {POOL}": float(by_image),
    }


def zero_shot(scorer: ClipScorer, questions: Sequence[Question]) -> float:
    """Return the share of the questions that the nearest prompt answers."""
    own = sorted({prompt for _, prompts, _ in questions for prompt in prompts})
    texts = dict(zip(own, scorer.text_features(own), strict=True))
    right = [
        int((torch.stack([texts[prompt] for prompt in prompts]) @ picture).argmax()) == answer
        for picture, prompts, answer in questions
    ]
    return float(np.mean(right))


def _class(picture: Tensor, item: SceneObject) -> Question:
    return picture, [f"a {name}" for name in OBJECTS], list(OBJECTS).index(item.name)


def _colour(picture: Tensor, item: SceneObject) -> Question:
    prompts = [f"a {colour} {item.name}" for colour in COLOURS]
    return picture, prompts, list(COLOURS).index(item.colour)


def _background(picture: Tensor, made: Scene) -> Question:
    subject = " and ".join(f"a {item.name}" for item in made.objects)
    prompts = [f"{subject} {BACKGROUNDS[name].words[0]}".strip() for name in SIMPLE]
    return picture, prompts, SIMPLE.index(made.background)


def _style(picture: Tensor, made: Scene) -> Question:
    subject = " and ".join(f"a {item.name}" for item in made.objects)
    words = ("", "a pencil sketch of ", "a watercolour of ", "pixel art of ")
    return picture, [start + subject for start in words], ["none", *STYLES].index(made.style)


def _relation(picture: Tensor, made: Scene) -> Question:
    words = "to the left of" if made.relation == "left" else "above"
    first, second = (f"a {item.colour} {item.name}" for item in made.objects)
    return picture, [f"{first} {words} {second}", f"{second} {words} {first}"], 0


def _binding(picture: Tensor, made: Scene) -> Question:
    one, two = made.objects
    right = f"a {one.colour} {one.name} and a {two.colour} {two.name}"
    return picture, [right, f"a {two.colour} {one.name} and a {one.colour} {two.name}"], 0


def answers(scorer: ClipScorer, scenes: Sequence[Scene], whole: Tensor) -> dict[str, float]:
    """Return the zero-shot measures on some scenes, given their features."""
    every = [(made, item) for made in scenes for item in made.objects]
    masked = features(scorer, [m.image * around(o.box, MARGIN)[..., None] for m, o in every])
    alone = [(f, o) for f, (_, o) in zip(masked, every, strict=True)]
    seen = list(zip(whole, scenes, strict=True))
    single = [(f, made.objects[0]) for f, made in seen if len(made.objects) == 1]
    pairs = [(f, made) for f, made in seen if len(made.objects) == 2]
    coloured = [(f, made) for f, made in pairs if len({o.colour for o in made.objects}) == 2]
    questions = {
        "class of a single object, of 16": [_class(*each) for each in single],
        "class of an object, all else zeroed": [_class(*each) for each in alone],
        "colour of a single object, of 10": [_colour(*each) for each in single],
        "colour of an object, all else zeroed": [_colour(*each) for each in alone],
        "background, of 6": [_background(f, m) for f, m in seen if m.background in SIMPLE],
        "style, of 4": [_style(*each) for each in seen],
        "which of two objects has which colour": [_binding(*each) for each in coloured],
        "which of two objects is left or above": [_relation(*each) for each in pairs],
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
        images = features(scorer, [np.asarray(picture) for picture in drawn])
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
    unusual = [scene(seed, held_out=True) for seed in seeds]
    columns = {}
    for name, scenes in (("fresh scenes", seen), ("pairs never shown", unusual)):
        whole = features(scorer, [made.image for made in scenes])
        columns[name] = retrieval(scorer, scenes, whole) | answers(scorer, scenes, whole)
    if args.ranked:
        pipe, judge = parts.load(args.checkpoint), Judge.load()
        columns["fresh scenes"] |= ranking(scorer, pipe, judge, seen[: args.ranked])
    print(table(columns))


if __name__ == "__main__":
    main()
