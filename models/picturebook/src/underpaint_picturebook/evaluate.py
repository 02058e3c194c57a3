"""``python -m underpaint_picturebook.evaluate``: measure the checkpoint against its bars.

Prints a markdown table and writes one JSON line a generated picture. Nobody looks at a picture:
the judge, trained on renders only, says what each one shows.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from rich.console import Console

from underpaint_picturebook import model, parts
from underpaint_picturebook.attention import WordMaps, concentration
from underpaint_picturebook.captions import STATED_RELATIONS
from underpaint_picturebook.judge import Judge, Verdict
from underpaint_picturebook.train.data import FIRST_TEST_SEED
from underpaint_picturebook.train.vae import psnr, reconstruct
from underpaint_picturebook.world import Scene, scene

BATCH = 10
HELD_OUT_EVERY = 5
"""Every fifth caption names an object-colour or object-object pair that training never showed."""

_console = Console(stderr=True)
Record = dict[str, Any]


def held_out_scenes(count: int) -> list[Scene]:
    """Return scenes no training run has seen; only their captions and truth are used."""
    return [scene(FIRST_TEST_SEED + k, held_out=k % HELD_OUT_EVERY == 0) for k in range(count)]


def relation_holds(wanted: Scene, verdict: Verdict) -> bool | None:
    """Say whether the stated relation holds; None if none is stated or an object is missing."""
    if not any(words in wanted.caption for words in STATED_RELATIONS) or not wanted.relation:
        return None
    first, second = (verdict.find(item.name) for item in wanted.objects[:2])
    if first is None or second is None:
        return None
    axis = 0 if wanted.relation == "left" else 1
    return first.centre[axis] < second.centre[axis]


def score(wanted: Scene, verdict: Verdict) -> Record:
    """Compare what a caption asks for with what the judge sees."""
    found = {item.name: verdict.find(item.name) for item in wanted.objects}
    colours = [
        found_item.colour == item.colour
        for item in wanted.objects
        if item.words.colour and (found_item := found[item.name])
    ]
    stated = wanted.background != "plain"
    return {
        "caption": wanted.caption,
        "found": [item is not None for item in found.values()],
        "colours": colours,
        "relation": relation_holds(wanted, verdict),
        "background": verdict.background == wanted.background if stated else None,
        "style": verdict.style == wanted.style if wanted.style != "none" else None,
        "extra": len([name for name in verdict.classes if name not in found]),
    }


def _word_tokens(pipe: StableDiffusionPipeline, wanted: Scene) -> list[list[int]]:
    encoded = pipe.tokenizer(wanted.caption, return_offsets_mapping=True)
    return [
        [
            position
            for position, (start, end) in enumerate(encoded["offset_mapping"])
            if start < end and start >= item.words.noun[0] and end <= item.words.noun[1]
        ]
        for item in wanted.objects
    ]


def generated(
    pipe: StableDiffusionPipeline, judge: Judge, scenes: list[Scene], guidance: float, steps: int
) -> Iterator[Record]:
    """Draw every caption once and yield its score, in order."""
    watch = WordMaps(pipe)
    for start in range(0, len(scenes), BATCH):
        part = scenes[start : start + BATCH]
        seeds = [torch.Generator().manual_seed(item.seed) for item in part]
        images = pipe(
            [item.caption for item in part],
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=seeds,
            callback_on_step_end=watch.collect,
        ).images
        for wanted, verdict, maps in zip(part, judge(images), watch.take(), strict=True):
            ratios = [
                concentration(maps, tokens, seen.mask)
                for item, tokens in zip(wanted.objects, _word_tokens(pipe, wanted), strict=True)
                if (seen := verdict.find(item.name))
            ]
            yield {
                "guidance": guidance,
                "seed": wanted.seed,
                "held_out_pair": (wanted.seed - FIRST_TEST_SEED) % HELD_OUT_EVERY == 0,
                **score(wanted, verdict),
                "attention": [round(ratio, 3) for ratio in ratios],
            }
        _console.print(f"guidance {guidance}: {start + len(part)} of {len(scenes)}")


def share(values: list[Any]) -> float:
    """Return the mean of the values that are not None; nan if there are none."""
    known = [float(value) for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def summary(records: list[Record]) -> dict[str, float]:
    """Return one figure a row of the table."""
    return {
        "every named object found": share([all(r["found"]) for r in records]),
        "named colour right, of the objects found": share(
            [c for r in records for c in r["colours"]]
        ),
        "stated relation right, of the scenes with both found": share(
            [r["relation"] for r in records]
        ),
        "stated background right": share([r["background"] for r in records]),
        "stated style right": share([r["style"] for r in records]),
        "attention of an object's word inside its mask, over the mask's share": share(
            [a for r in records for a in r["attention"]]
        ),
        "objects that nobody asked for, a picture": share([r["extra"] for r in records]),
    }


def renders_judged(judge: Judge, scenes: list[Scene]) -> float:
    """Return the share of rendered objects that the judge finds in the right place."""
    right = []
    for shown, verdict in zip(scenes, judge([item.image for item in scenes]), strict=True):
        for item in shown.objects:
            seen = verdict.mask(item.name)
            both, either = (seen & item.mask).sum(), (seen | item.mask).sum()
            right.append(bool(both / either > 0.5))
    return share(right)


def repeats(pipe: StableDiffusionPipeline) -> bool:
    """Say whether one seed gives the same bytes twice."""
    first, second = (
        pipe(
            "a red cat on grass",
            num_inference_steps=4,
            generator=torch.Generator().manual_seed(7),
        ).images[0]
        for _ in range(2)
    )
    return bool(first.tobytes() == second.tobytes())


def table(columns: dict[str, dict[str, float]], fixed: dict[str, float]) -> str:
    """Return the markdown table: a column for each guidance scale and subset."""
    lines = [f"| measure | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name, value in fixed.items():
        lines.append(f"| {name} | {value:.3f} |" + " |" * (len(columns) - 1))
    for name in next(iter(columns.values())):
        lines.append(f"| {name} | {' | '.join(f'{c[name]:.3f}' for c in columns.values())} |")
    return "\n".join(lines)


def _fixed(pipe: StableDiffusionPipeline, judge: Judge, count: int) -> dict[str, float]:
    scenes = [scene(FIRST_TEST_SEED + 1_000_000 + k) for k in range(count)]
    pixels = np.stack([item.image for item in scenes[:64]])
    made = np.concatenate(
        [reconstruct(pipe.vae, pixels[k : k + 8]) for k in range(0, len(pixels), 8)]
    )
    return {
        "judge on fresh renders, class right": renders_judged(judge, scenes),
        "autoencoder on fresh renders, PSNR in dB": psnr(made, pixels),
        "same seed, same bytes": float(repeats(pipe)),
    }


def main() -> None:
    """Parse the command line, measure, print the table."""
    parser = argparse.ArgumentParser(prog="python -m underpaint_picturebook.evaluate")
    parser.add_argument("--checkpoint", type=Path, default=model())
    parser.add_argument("--captions", type=int, default=500)
    parser.add_argument("--renders", type=int, default=200)
    parser.add_argument("--guidance", type=float, nargs="+", default=[3.0, 4.0, 6.0])
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--out", type=Path, default=Path("picturebook-evaluation.jsonl"))
    args = parser.parse_args()
    pipe, judge, scenes = parts.load(args.checkpoint), Judge.load(), held_out_scenes(args.captions)
    started, columns = time.monotonic(), {}
    fixed = _fixed(pipe, judge, args.renders)
    with args.out.open("w", encoding="utf-8") as out:
        for guidance in args.guidance:
            records = []
            for record in generated(pipe, judge, scenes, guidance, args.steps):
                records.append(record)
                out.write(json.dumps(record) + "\n")
            columns[f"guidance {guidance:g}"] = summary(records)
            unseen = [r for r in records if r["held_out_pair"]]
            columns[f"guidance {guidance:g}, unseen pairs"] = summary(unseen)
    print(table(columns, fixed))
    _console.print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
