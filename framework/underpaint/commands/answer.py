"""What a command gives back: data, and how a person sees it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType


WIDE = 240


@dataclass(frozen=True)
class Answer:
    """The outcome of a command.

    Attributes
    ----------
    data : what ``--json`` prints: JSON-able.
    show : prints the same on stdout for a person.
    exit_code : of the process.
    """

    data: Any
    show: Callable[[], None]
    exit_code: int = 0


def answer_files(data: Any, files: Sequence[Path]) -> Answer:
    """Return an answer that shows the written files, one a line."""
    return Answer(data, lambda: sys.stdout.writelines(f"{file}\n" for file in files))


def answer_table(data: Any, *renderables: RenderableType, exit_code: int = 0) -> Answer:
    """Return an answer that shows rich tables and texts."""

    def show() -> None:
        from rich.console import Console

        width = None if sys.stdout.isatty() else WIDE  # a pipe has no width to wrap at
        console = Console(width=width, markup=False, highlight=False)
        for renderable in renderables:
            console.print(renderable)

    return Answer(data, show, exit_code)
