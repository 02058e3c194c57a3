"""Markdown out of docstrings and values."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Sequence


def from_docstring(text: str) -> str:
    """Turn reStructuredText's literals and literal blocks into Markdown's."""
    return "\n".join(_fenced(re.sub(r"``([^`]+)``", r"`\1`", text).split("\n")))


def signature_of(function: object, name: str = "") -> str:
    """Return a function's signature as its source says it."""
    text = f"{name or getattr(function, '__name__', '')}{inspect.signature(function)}"  # type: ignore[arg-type]
    return text.replace("'", "")


def table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; a bar in a cell does not end it."""
    titles = list(head)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _fenced(lines: list[str]) -> Iterator[str]:
    inside = False
    for number, line in enumerate(lines):
        indented, last = line.startswith("    "), number + 1 == len(lines)
        if indented and not inside:
            yield "```python"
            inside = True
        elif inside and line and not indented:
            yield "```\n"
            inside = False
        following = next((later for later in lines[number + 1 :] if later), "")
        if inside and not line and not following.startswith("    "):
            continue
        yield line.removeprefix("    ") if inside else re.sub(r"::$", ":", line)
        if inside and last:
            yield "```"
