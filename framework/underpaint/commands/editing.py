"""What a call leaves in a folder: every branch's pictures, a sheet to judge by, result.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image, ImageChops

from underpaint.commands.captions import footer, seen_words
from underpaint.commands.files import encode, numbered
from underpaint.commands.options import Loading, RunTalk
from underpaint.commands.outcome import describe, run
from underpaint.commands.words import emphasised, mark_changes, mark_named, named_words
from underpaint.images import convert
from underpaint.result import REGION
from underpaint.sheet import Panel, Word, heat_map, mark_region, panel_sheet

if TYPE_CHECKING:
    from torch import Tensor

    from underpaint.method import Method
    from underpaint.pipeline import Pipeline
    from underpaint.result import Result, WordMaps

RESULT, SHEET = Path("result.json"), Path("sheet.png")
PICTURE = Path("picture.png")
"""What was edited, in the model's frame: a replay finds it beside ``result.json``."""


def picture_files(
    pipe: Pipeline, call: Mapping[str, Any], loading: Loading, talk: RunTalk, sheet: bool
) -> tuple[dict[Path, bytes], dict[str, Any]]:
    """Run a call; return the files to write, by name, and what result.json says."""
    command = "edit" if call["edits"] else "generate"
    more: dict[str, Any] = {"record_attention": True} if sheet else {}
    more["trace_hooks"] = times = talk.times()
    result = run(pipe, "With the method" if sheet else "Working", call, talk, **more)
    files = dict(_pictures(result))
    if sheet:
        plain = _without(pipe, call, result, talk)
        files[SHEET] = encode(draw_sheet(result, plain, call["edits"]), SHEET)
    data = describe(command, pipe, loading, result, [*files, RESULT], times=times)
    files[RESULT] = json.dumps(data, indent=2).encode()
    return files, data


def _without(
    pipe: Pipeline, call: Mapping[str, Any], result: Result, talk: RunTalk
) -> Result | None:
    """Repeat a call without its methods, from the noise that it started from.

    None if a picture was painted into without being inverted: the noise knows nothing of it, so
    the picture itself is what the edit is compared with.
    """
    if result.image is not None and result.trajectory is None:
        return None
    start = {"image": None, "trajectory": result.trajectory, "refinements": 0}
    again = {**call, "seed": result.seeds, "edits": [], **start}
    return run(pipe, "Without the method", again, talk, record_attention=True)


def draw_sheet(result: Result, plain: Result | None, edits: Sequence[Method]) -> Image.Image:
    """Return a row for each image: what it was made of, the edit, and the noise without it."""
    rows = [_row(result, plain, edits, index) for index in range(len(result.images))]
    return panel_sheet(rows, footer(result))


def _row(result: Result, plain: Result | None, edits: Sequence[Method], index: int) -> list[Panel]:
    maps = result.attention.image(index)
    prompts = {name: tokens[0].text for name, tokens in maps.tokens.items()}
    marked = mark_prompts(prompts, maps.name, edits)
    own = marked[maps.name]
    seed = f" · seed {result.seeds[index]}" if len(set(result.seeds)) > 1 else ""
    panels = [
        *_given(result, index),
        *(
            _panel(name.capitalize() + seed, images[index], marked[name], maps.branch(name))
            for name, images in result.branches.items()
        ),
        _panel("Edit" + seed, result.images[index], own, maps),
    ]
    if plain is None:
        return panels
    title = f"Same {'noise' if result.trajectory else 'seed'}, without the method" + seed
    return [*panels, _panel(title, plain.images[index], own, plain.attention.image(index))]


def _given(result: Result, index: int) -> Iterator[Panel]:
    """Yield the picture that an image was made of, and where it was painted into."""
    given = prepared_pictures(result)
    if not given:
        return
    picture = given[index % len(given)]
    yield Panel("Picture", (), picture)
    if REGION in result.reports:
        region = cast("Tensor", result.reports[REGION][index])  # [1, H, W]
        yield Panel("Painted into", (), mark_region(picture, region[0].cpu().numpy()))


def mark_prompts(
    prompts: Mapping[str, str], main: str, edits: Sequence[Method]
) -> dict[str, list[Word]]:
    """Emphasise where the branches' prompts differ from the main one, or else what edits name."""
    marked = {name: mark_changes(text, prompts[main])[0] for name, text in prompts.items()}
    other = next((text for name, text in prompts.items() if name != main), prompts[main])
    marked[main] = mark_changes(other, prompts[main])[1]
    if any(strong for words in marked.values() for _, strong in words):
        return marked
    names = set[str]().union(
        *(named_words(edit.model_dump(mode="json"), list(prompts.values())) for edit in edits)
    )
    return {name: mark_named(text, names) for name, text in prompts.items()}


def _panel(title: str, image: Image.Image, words: Sequence[Word], maps: WordMaps) -> Panel:
    heats = [
        (f"attention: {word}", heat_map(image, values))
        for word, values in seen_words(maps, emphasised(words))
    ]
    return Panel(title, words, image, heats)


def prepared_pictures(result: Result) -> list[Image.Image]:
    """Return the pictures that were edited, in the model's frame."""
    return [] if result.image is None else convert(result.image.pixels, "pil")


def _pictures(result: Result) -> Iterator[tuple[Path, bytes]]:
    given = prepared_pictures(result)
    for path, image in zip(numbered(PICTURE, len(given)), given, strict=True):
        yield path, encode(image, path)
    for name, images in result.branches.items():
        alike = _all_alike(images)
        yield from _encoded(name, images[:1] if alike else images, result.recipe)
    main = "edit" if result.recipe["edits"] else "image"
    yield from _encoded(main, result.images, result.recipe)


def _encoded(
    name: str, images: Sequence[Image.Image], recipe: Mapping[str, Any]
) -> Iterator[tuple[Path, bytes]]:
    for path, image in zip(numbered(Path(f"{name}.png"), len(images)), images, strict=True):
        yield path, encode(image, path, recipe)


def _all_alike(images: Sequence[Image.Image]) -> bool:
    """Whether pictures are the same but for the rounding of their place in a batch."""
    differences = (ImageChops.difference(images[0], other) for other in images[1:])
    return all(int(np.asarray(difference).max()) <= 2 for difference in differences)
