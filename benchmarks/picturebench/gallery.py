"""Which edits the report shows, failures first, and their pictures as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from PIL import Image
from underpaint.sheet import heat_map

from benchmarks.picturebench.edit_types import EditType
from benchmarks.picturebench.expectations import ASPECTS
from benchmarks.picturebench.methods import REFERENCES
from benchmarks.picturebench.results_file import PICTURES, Line
from benchmarks.picturebench.runner import ATTENTION, BEFORE, EXPECTED, ITEMS
from benchmarks.picturebench.summary import grouped


@dataclass(frozen=True)
class Card:
    """One edit: its line, what the judge misses, and titled pictures as data URIs."""

    line: Line
    type: str
    missed: tuple[str, ...]
    pictures: tuple[tuple[str, str], ...]


def cards(folder: Path, lines: Sequence[Line], limit: int) -> list[Card]:
    """Return up to so many cards: what failed of all methods by turns, then what did not."""
    return [_card(folder / PICTURES, line) for line in failures_first(lines)[:limit]]


def failures_first(lines: Sequence[Line]) -> list[Line]:
    """Return the edits of all methods but the references, failures before successes.

    Within both, methods come by turns, so that a few cards show some of each.
    """
    edits = [line for line in lines if line["method"] not in REFERENCES]
    failed = [line for line in edits if not line["success"]]
    return [*_by_turns(failed), *_by_turns([line for line in edits if line["success"]])]


def _by_turns(lines: Sequence[Line]) -> list[Line]:
    groups = grouped(lines, lambda line: line["method"]).values()
    return [line for line in chain.from_iterable(zip_longest(*groups)) if line is not None]


def _card(pictures: Path, line: Line) -> Card:
    own = pictures / line["method"] / line["item"]
    item = pictures / ITEMS / line["item"]
    files = {
        "before": Path(f"{item}.{BEFORE}.webp"),
        "after": Path(f"{own}.webp"),
        "expected": Path(f"{item}.{EXPECTED}.webp"),
        "attention": Path(f"{own}.{ATTENTION}.webp"),
    }
    shown = [(title, _uri(file.read_bytes())) for title, file in files.items() if file.is_file()]
    if files["after"].is_file():
        shown.append(("change", _uri(_change_map(files["before"], files["after"]))))
    return Card(
        line=line,
        type=EditType(line["type"]).title,
        missed=tuple(name for name in ASPECTS if line.get(name) is False),
        pictures=tuple(shown),
    )


def _change_map(before: Path, after: Path) -> bytes:
    """Return the absolute change as heat over the edited picture, as a WebP file."""
    with Image.open(before) as first, Image.open(after) as second:
        old, new = (np.asarray(each.convert("RGB"), np.float32) for each in (first, second))
    heat = heat_map(Image.fromarray(new.astype(np.uint8)), np.abs(new - old).mean(-1))
    buffer = io.BytesIO()
    heat.save(buffer, "webp", quality=80)
    return buffer.getvalue()


def _uri(data: bytes) -> str:
    return f"data:image/webp;base64,{base64.b64encode(data).decode()}"
