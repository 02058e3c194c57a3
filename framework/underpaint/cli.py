"""The command line: ``underpaint ...``.

stdout is data, stderr is talk. Exit code 0 is success, 1 a problem that `doctor` found, 2 a call
that could not be served, 130 an interruption.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError, ValidationError

import underpaint
from underpaint import registry
from underpaint.commands import COMMANDS
from underpaint.errors import CancelledError, UnderpaintError

if TYPE_CHECKING:
    from underpaint.commands.answer import Answer

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    An error that underpaint raises on purpose is one message, without a traceback; any other
    propagates.
    """
    tokens = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in tokens
    try:
        app, tokens = build_app(tokens)
        answer = app(tokens, exit_on_error=False, print_error=False)
        return _give(answer, as_json)
    except (CycloptsError, UnderpaintError) as error:
        _explain(error, as_json)
        return INTERRUPTED if isinstance(error, CancelledError) else 2
    except KeyboardInterrupt:
        _explain(CancelledError("Interrupted; nothing was written."), as_json)
        return INTERRUPTED


def build_app(tokens: Sequence[str]) -> tuple[App, list[str]]:
    """Return the application and the tokens it is to read.

    Of the commands and plugins only the asked ones are imported.
    """
    tokens = list(tokens)
    app = App(
        name="underpaint",
        help="Edit images by steering a diffusion model while it denoises.",
        version=underpaint.__version__,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
        verbose=False,
    )
    for name, summary in COMMANDS.items():
        app.command(f"underpaint.commands.{name}:{name}", name=name, help=summary)
    if tokens[:1] in (["edit"], ["plan"]):
        from underpaint.commands.method_app import method_app

        del app[tokens[0]]
        command, tokens[1:] = method_app(tokens[0], tokens[1:])
        app.command(command)
    for name, point in registry.find("commands").items():
        if name not in COMMANDS:  # `underpaint doctor` names the commands that this hides
            _add_contributed(app, point, asked=tokens[:1] == [name])
    return app, tokens


def _add_contributed(app: App, point: EntryPoint, asked: bool) -> None:
    if asked:
        command = registry.load("commands", point.name)
        app.command(command, name=point.name)
        return
    origin = point.dist.name if point.dist else point.value
    app.command(point.value, name=point.name, help=f"From {origin}.", group="Commands of packages")


def _give(answer: Answer | int | None, as_json: bool) -> int:
    """Put an answer on stdout and return the exit code."""
    if answer is None or isinstance(answer, int):
        return answer or 0
    if as_json:
        sys.stdout.write(json.dumps(answer.data, indent=2) + "\n")
    else:
        answer.show()
    return answer.exit_code


def _message(error: Exception) -> str:
    """Return what went wrong; a value that pydantic refused is told without its jargon."""
    if isinstance(error, ValidationError) and error.argument is not None:
        from underpaint.commands.validation import explain

        return explain(error.__cause__, error.argument.name) or str(error)
    return str(error)


def _explain(error: Exception, as_json: bool) -> None:
    """Say what went wrong: as JSON on stdout, or on stderr."""
    if as_json:
        kind = type(error).__name__
        json.dump({"error": {"type": kind, "message": _message(error)}}, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    head = "Cancelled" if isinstance(error, CancelledError) else "Error"
    console.print(Text.assemble((f"{head}: ", "bold red"), _message(error)), soft_wrap=True)
    for note in getattr(error, "__notes__", ()):
        console.print(Text(note, style="dim"), soft_wrap=True)
