"""PIE-Bench's folder (arXiv 2310.01506): ``mapping_file.json`` beside ``annotation_images``.

An entry of the JSON has the keys of `Entry`; prompts mark what differs in brackets; the mask is run
lengths over 512x512. `load_folder` reads the published set as well as what `save_folder` writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from benchmarks.picturebench.edit_types import EditType
from benchmarks.picturebench.items import Item
from benchmarks.picturebench.masks import decode_runs, encode_runs
from benchmarks.picturebench.scenes import Mask

MAPPING, PICTURES, SCENES = "mapping_file.json", "annotation_images", "scenes.json"
SIDE = 512


class PieBenchError(Exception):
    """Base of what is wrong with a folder."""


class MissingPartError(PieBenchError):
    """A file of the folder is not there."""


class CorruptPartError(PieBenchError):
    """A file of the folder cannot be read as what it should be."""


class Entry(BaseModel):
    """One entry of the mapping file; keys that are not named here are ignored."""

    model_config = ConfigDict(frozen=True, strict=True)

    image_path: str
    original_prompt: str
    editing_prompt: str
    editing_instruction: str
    editing_type_id: str
    blended_word: str
    mask: list[int]


_ENTRIES = TypeAdapter(dict[str, Entry])


def save_folder(items: Iterable[Item], folder: Path) -> None:
    """Write items in PIE-Bench's form, 512x512, with ``scenes.json`` for what it has no place for.

    The enlargement repeats each pixel, so that halving gives the picture and the mask back.
    """
    entries: dict[str, dict[str, Any]] = {}
    scenes: dict[str, dict[str, Any]] = {}
    for item in items:
        factor = SIDE // item.mask.shape[0]
        path = f"{item.type.folder}/{item.key}.png"
        file = folder / PICTURES / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(item.picture).resize((SIDE, SIDE), Image.Resampling.NEAREST).save(file)
        entries[item.key] = _entry(item, path, np.kron(item.mask, np.ones((factor, factor), bool)))
        scenes[item.key] = _scene(item)
    for name, content in ((MAPPING, entries), (SCENES, scenes)):
        (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")


def load_folder(folder: Path, limit: int | None = None) -> list[Item]:
    """Read the items of a folder in the order of its mapping file, at 512x512, without a truth.

    Raises
    ------
    MissingPartError
        If the mapping file or a picture is not there; the message names it.
    CorruptPartError
        If one of them is not what it should be.
    """
    entries = _read_mapping(folder / MAPPING)
    return [_load_item(folder, key, entries[key]) for key in list(entries)[:limit]]


def mark_differences(source: str, target: str) -> tuple[str, str]:
    """Return both prompts with brackets around the words that differ."""
    first, second = source.split(), target.split()
    runs = SequenceMatcher(None, first, second, autojunk=False).get_opcodes()
    old = _bracketed((kind, first[a:b]) for kind, a, b, _, _ in runs)
    return old, _bracketed((kind, second[c:d]) for kind, _, _, c, d in runs)


def _bracketed(runs: Iterator[tuple[str, list[str]]]) -> str:
    parts = [(kind, " ".join(words)) for kind, words in runs if words]
    return " ".join(text if kind == "equal" else f"[{text}]" for kind, text in parts)


def _entry(item: Item, path: str, mask: Mask) -> dict[str, Any]:
    original, editing = mark_differences(item.source_prompt, item.target_prompt)
    entry = Entry(
        image_path=path,
        original_prompt=original,
        editing_prompt=editing,
        editing_instruction=item.instruction,
        editing_type_id=str(item.type.value),
        blended_word=" ".join(item.blended or ()),
        mask=encode_runs(mask),
    )
    return entry.model_dump()


def _scene(item: Item) -> dict[str, Any]:
    known: dict[str, Any] = {"split": item.split, "unseen": item.unseen}
    if item.truth:
        known |= {"source": asdict(item.truth.source), "target": asdict(item.truth.target)}
    return known


def _read_mapping(file: Path) -> dict[str, Entry]:
    if not file.is_file():
        raise MissingPartError(f"There is no {file}. Give the folder that holds {MAPPING}.")
    try:
        return _ENTRIES.validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = " -> ".join(map(str, first["loc"])) or "the file"
        raise CorruptPartError(f"{file}: {place}: {first['msg']}.") from error


def _load_item(folder: Path, key: str, entry: Entry) -> Item:
    file = folder / PICTURES / entry.image_path
    if not file.resolve().is_relative_to(folder.resolve()):
        raise CorruptPartError(f"Entry {key} of {folder / MAPPING}: {file} is outside of {folder}.")
    if not file.is_file():
        raise MissingPartError(f"Entry {key} of {folder / MAPPING} names {file}, which is missing.")
    try:
        with Image.open(file) as opened:
            picture = np.asarray(opened.convert("RGB").resize((SIDE, SIDE)))
    except OSError as error:
        raise CorruptPartError(f"{file} is no picture that can be read ({error}).") from error
    try:
        kind, mask = EditType(int(entry.editing_type_id)), decode_runs(entry.mask, (SIDE, SIDE))
    except ValueError as error:
        raise CorruptPartError(f"Entry {key} of {folder / MAPPING}: {error}.") from error
    words = entry.blended_word.split()
    return Item(
        key=key,
        type=kind,
        split="pie-bench",
        source_prompt=_plain(entry.original_prompt),
        target_prompt=_plain(entry.editing_prompt),
        instruction=entry.editing_instruction,
        blended=(words[0], words[1]) if len(words) == 2 else None,
        picture=picture,
        mask=mask,
    )


def _plain(prompt: str) -> str:
    return prompt.replace("[", "").replace("]", "")
