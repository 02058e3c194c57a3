"""How often the judge is right: 100 edited pictures that were labelled by eye.

    python -m benchmarks.picturebench.judge_check

The pictures are edits of the tuning split by all methods, drawn at random, good and bad. The labels
in ``labelled/labels.json`` were written by one labeller from the pictures alone, who had seen some
of these items with prompt and verdict shortly before, so they are not strictly blind. What the eye
could not name is null: an object that is a blob has no name, and what the judge says of it is
counted apart.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cyclopts import App
from PIL import Image
from rich.console import Console
from rich.table import Table
from underpaint_picturebook.judge import Judge, Verdict

from benchmarks.picturebench.summary import Share
from benchmarks.report import write_lines

FOLDER = Path(__file__).parent / "labelled"

UNCLEAR = "no name for the unclear one"

app = App(name="judge_check", help=__doc__)


@dataclass(frozen=True)
class Agreement:
    """One thing that eye and judge say of a picture."""

    aspect: str
    picture: str
    eye: str
    judge: str

    @property
    def right(self) -> bool:
        """Whether both say the same."""
        return self.eye == self.judge


def compare(label: dict[str, Any], verdict: Verdict) -> Iterator[Agreement]:
    """Yield what can be compared: nothing of what the eye left open."""
    picture, things = label["picture"], label["objects"]
    named = [thing["name"] for thing in things if thing["name"]]
    eye, seen = sorted(set(named)), sorted(verdict.classes)  # the judge sees one of a kind
    if len(named) == len(things):
        yield Agreement("objects", picture, ", ".join(eye), ", ".join(seen))
    else:
        clear = [name for name in seen if name in eye]
        unclear = [name for name in seen if name not in eye]
        yield Agreement("objects beside an unclear one", picture, ", ".join(eye), ", ".join(clear))
        yield Agreement(UNCLEAR, picture, "", ", ".join(unclear))
    for thing in things:
        found = verdict.find(thing["name"]) if named.count(thing["name"]) == 1 else None
        if found and thing["colour"]:
            yield Agreement("colour", picture, thing["colour"], found.colour)
    for aspect in ("background", "style"):
        if label[aspect]:
            yield Agreement(aspect, picture, label[aspect], getattr(verdict, aspect))


def agreements(folder: Path = FOLDER) -> list[Agreement]:
    """Judge all labelled pictures."""
    labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
    pictures = [Image.open(folder / label["picture"]) for label in labels]
    verdicts = Judge.load()(pictures)
    return [
        each
        for label, verdict in zip(labels, verdicts, strict=True)
        for each in compare(label, verdict)
    ]


@cache
def error_note() -> str:
    """Say in a sentence how far what the judge counts can be trusted."""
    found = agreements()

    def of(aspect: str) -> str:
        own = [each.right for each in found if each.aspect == aspect]
        return f"{sum(own)} of {len(own)}"

    unclear = [each.right for each in found if each.aspect == UNCLEAR]
    return (
        "Success is counted by a network. Of 100 edited pictures that were labelled by eye, it "
        f"agrees on the objects in {of('objects')}, on colours in {of('colour')}, on backgrounds "
        f"in {of('background')} and on styles in {of('style')}; of {len(unclear)} shapes that the "
        f"eye could not name, it names {len(unclear) - sum(unclear)}."
    )


@app.default
def main(*, json_out: Path | None = None) -> None:
    """Print how often eye and judge agree, and where they do not.

    Parameters
    ----------
    json_out : a file for one JSON line an aspect.
    """
    found = agreements()
    lines = []
    table = Table("", "agree", "of", "95 %", box=None)
    for aspect in dict.fromkeys(each.aspect for each in found):
        own = [each for each in found if each.aspect == aspect]
        share = Share(sum(each.right for each in own), len(own))
        low, high = share.interval
        table.add_row(aspect, str(share.right), str(share.of), f"{low:.0%} to {high:.0%}")
        lines.append({"aspect": aspect, "agree": share.right, "of": share.of, "low": low})
    write_lines(json_out, lines)
    Console().print(table)
    for each in found:
        if not each.right:
            Console().print(f"{each.picture} {each.aspect}: eye {each.eye!r}, judge {each.judge!r}")


if __name__ == "__main__":
    app()
