"""A run's folder: JSON lines that a stopped run goes on from, and the pictures for the report.

The first line holds the settings, each other one an edit. No line holds NaN: what is not a finite
number is null.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.picturebench.scenes import Pixels

LINES, PICTURES = "results.jsonl", "pictures"

Line = dict[str, Any]


class ResultsError(Exception):
    """Base of what is wrong with a run's folder."""


class SettingsChangedError(ResultsError):
    """A folder holds results of other settings, or of an item or method that has changed."""


class CorruptResultsError(ResultsError):
    """A line that is not the last one is no JSON."""


@dataclass(eq=False)
class ResultsFile:
    """The results of one folder."""

    folder: Path
    lines: dict[tuple[str, str], Line]
    """By method and item."""

    @classmethod
    def open(
        cls, folder: Path, settings: Mapping[str, Any], about: Mapping[str, Any]
    ) -> ResultsFile:
        """Open a folder for a run with these settings; `about` is told in the first line only.

        Raises
        ------
        SettingsChangedError
            If the folder's results were made with other settings; the message names them.
        CorruptResultsError
            If a line in the middle is no JSON; the last one is cut off, if it is not whole.
        """
        file = folder / LINES
        if not file.exists():
            folder.mkdir(parents=True, exist_ok=True)
            results = cls(folder, {})
            results._write({"settings": dict(settings), **about})
            return results
        header, lines = read_lines(file)
        _mend(file)
        _check(header["settings"], settings, folder)
        return cls(folder, {(line["method"], line["item"]): line for line in lines})

    def has(self, method: str, item: str, facts: Mapping[str, Any]) -> bool:
        """Say whether an edit is there already.

        Raises
        ------
        SettingsChangedError
            If it is, and the item or the method's call (`facts`) was another one then.
        """
        line = self.lines.get((method, item))
        if line is None:
            return False
        _check({name: line[name] for name in facts}, facts, self.folder, f"{method} of {item}")
        return True

    def add(self, line: Line) -> None:
        """Append an edit; values that are no finite numbers become null."""
        clean = {name: finite(value) for name, value in line.items()}
        self._write(clean)
        self.lines[line["method"], line["item"]] = clean

    def save_picture(self, name: str, picture: Pixels | Image.Image) -> None:
        """Keep a picture for the report, compressed."""
        file = self.folder / PICTURES / f"{name}.webp"
        file.parent.mkdir(parents=True, exist_ok=True)
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        image.save(file, quality=85)

    def _write(self, line: Mapping[str, Any]) -> None:
        with (self.folder / LINES).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")


def finite(value: Any) -> Any:
    """Return a number as JSON can hold it: None in place of NaN and infinity."""
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def read_lines(file: Path) -> tuple[Line, list[Line]]:
    """Return the first line and the others; a last one that was cut off is left out.

    Raises
    ------
    CorruptResultsError
        If there is no first line, or one in the middle is no JSON.
    """
    texts = file.read_text(encoding="utf-8").split("\n")
    lines = []
    for number, text in enumerate(texts[:-1], start=1):
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError as error:
            raise CorruptResultsError(f"{file}, line {number}: {error}. Move it away.") from error
    if not lines or "settings" not in lines[0]:
        raise CorruptResultsError(f"{file} does not begin with the settings. Move it away.")
    return lines[0], lines[1:]


def _mend(file: Path) -> None:
    """Cut a last line off that a stopped run left without its end."""
    text = file.read_text(encoding="utf-8")
    file.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")


def _check(
    then: Mapping[str, Any], now: Mapping[str, Any], folder: Path, what: str = "the run"
) -> None:
    changed = [name for name in now if then.get(name) != now[name]]
    if changed:
        told = "; ".join(f"{name}: {then.get(name)!r} then, {now[name]!r} now" for name in changed)
        raise SettingsChangedError(
            f"{folder} holds results of other settings ({what}: {told}). Give another --out, or "
            "the settings of then."
        )
