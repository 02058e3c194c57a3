"""Renders cached on disk: arrays that can be mapped, and one JSON line a scene."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from underpaint_picturebook.backgrounds import SIDE
from underpaint_picturebook.world import Scene, scene

FIRST_TEST_SEED = 50_000_000
"""Training scenes count up from seed 0; scenes from here on are for evaluation only."""


@dataclass(frozen=True)
class Renders:
    """Cached scenes: `images` uint8 [N, 256, 256, 3], `marks` uint8 [N, 256, 256], `truth` [N].

    A mark is 0 on the background and 1 + the object's index in the scene elsewhere.
    """

    images: NDArray[np.uint8]
    marks: NDArray[np.uint8]
    truth: list[dict[str, Any]]


def truth_of(made: Scene) -> dict[str, Any]:
    """Return what is known about a scene, less its pixels, as JSON."""
    return {
        "seed": made.seed,
        "caption": made.caption,
        "background": made.background,
        "style": made.style,
        "relation": made.relation,
        "horizon": made.horizon,
        "ground": list(made.ground) if made.ground else None,
        "objects": [
            {
                "name": item.name,
                "colour": item.colour,
                "box": list(item.box),
                "noun": list(item.words.noun),
                "colour_word": list(item.words.colour) if item.words.colour else None,
            }
            for item in made.objects
        ],
    }


def _one(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], dict[str, Any]]:
    made = scene(seed)
    marks = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for index, item in enumerate(made.objects):
        marks[item.mask] = index + 1
    return made.image, marks, truth_of(made)


def _draw(seeds: range, workers: int) -> Iterator[Any]:
    if workers <= 1:
        yield from map(_one, seeds)
        return
    with get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(_one, seeds, chunksize=32)


def renders(folder: Path, count: int, *, workers: int = 2) -> Renders:
    """Return the first `count` training scenes, drawing what `folder` does not hold yet."""
    lines = folder / "scenes.jsonl"
    if not lines.is_file() or sum(1 for _ in lines.open(encoding="utf-8")) < count:
        folder.mkdir(parents=True, exist_ok=True)
        images = np.lib.format.open_memmap(
            folder / "images.npy", mode="w+", dtype=np.uint8, shape=(count, SIDE, SIDE, 3)
        )
        marks = np.lib.format.open_memmap(
            folder / "marks.npy", mode="w+", dtype=np.uint8, shape=(count, SIDE, SIDE)
        )
        truths = []
        for index, (image, mark, truth) in enumerate(_draw(range(count), workers)):
            images[index], marks[index] = image, mark
            truths.append(json.dumps(truth))
        images.flush()
        marks.flush()
        lines.write_text("\n".join(truths) + "\n", encoding="utf-8")
    truth = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    return Renders(
        np.load(folder / "images.npy", mmap_mode="r")[:count],
        np.load(folder / "marks.npy", mmap_mode="r")[:count],
        truth[:count],
    )
