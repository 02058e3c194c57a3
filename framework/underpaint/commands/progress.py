"""Progress on stderr, while stdout stays clean."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

from underpaint.commands.options import Loading, Talk

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

    from underpaint.pipeline import Pipeline
    from underpaint.recorder import StepCallback


@contextmanager
def open_pipeline(loading: Loading, talk: Talk) -> Iterator[Pipeline]:
    """Load a model; inside, whatever libraries and plugins print goes to stderr."""
    with redirect_stdout(sys.stderr):
        console = _console(talk)
        if console is None:
            pipe = loading.load()
        else:
            with console.status(f"Loading {loading.model}"):
                pipe = loading.load()
        yield pipe


@contextmanager
def step_bars(labels: Sequence[str], steps: int, talk: Talk) -> Iterator[list[StepCallback | None]]:
    """Show a bar of steps for each label, from its first step on; yields a callback for each.

    None where nobody watches: stderr is no terminal, or ``--quiet``.
    """
    console = _console(talk)
    if console is None:
        yield [None] * len(labels)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.description}")
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:

        def advance(task: TaskID, index: int) -> None:
            # A plugin may add steps, and a request larger than a batch starts again.
            total = max(steps, index + 1)
            progress.update(task, completed=index + 1, total=total, visible=True)

        def callback(label: str) -> StepCallback:
            task = progress.add_task(label, total=steps, visible=False)
            return lambda _pipe, index, _timestep, _state: advance(task, index)

        yield [callback(label) for label in labels]


def tell(message: str, talk: Talk) -> None:
    """Say something on stderr, unless ``--quiet``."""
    if not talk.quiet:
        from rich.console import Console
        from rich.text import Text

        Console(stderr=True).print(Text(message, style="dim"), soft_wrap=True)


def _console(talk: Talk) -> Console | None:
    if talk.quiet or not sys.stderr.isatty():
        return None
    from rich.console import Console

    return Console(stderr=True)


@contextmanager
def busy(message: str, talk: Talk) -> Iterator[None]:
    """Say on a terminal that something of unknown length goes on."""
    console = _console(talk)
    if console is None:
        yield
        return
    with console.status(message):
        yield
