"""Progress on stderr, while stdout stays clean."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from underpaint.commands.options import Loading, Talk

if TYPE_CHECKING:
    from rich.console import Console

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
def step_bar(label: str, steps: int, talk: Talk) -> Iterator[StepCallback | None]:
    """Show a bar of denoising steps; yields the call's ``callback_on_step_end``.

    None where nobody watches: stderr is no terminal, or ``--quiet``.
    """
    console = _console(talk)
    if console is None:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.description}")
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(label, total=steps)

        def advance(pipe: Any, index: int, timestep: int, state: dict[str, Any]) -> None:
            del pipe, timestep, state
            # A plugin may add steps, and a request larger than a batch starts again.
            progress.update(task, completed=index + 1, total=max(steps, index + 1))

        yield advance


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
