"""Commands that take a method, ``edit`` and ``plan``: their flags follow from its parameters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

from cyclopts import App, Parameter

from underpaint import registry
from underpaint.commands import COMMANDS
from underpaint.commands.options import METHOD, OUTPUT, SAMPLING
from underpaint.errors import InvalidRequestError
from underpaint.method import Method

Prompts = Annotated[
    list[str],
    Parameter(group=SAMPLING, negative=(), help="What the edit shows; repeat it for several."),
]

Also = Annotated[
    list[str] | None,
    Parameter(
        group=METHOD,
        negative=(),
        json_list=False,
        help="Another method in the same run: its name, or NAME={...} with its parameters as "
        "JSON; repeatable.",
    ),
]

Sheet = Annotated[
    bool,
    Parameter(
        group=OUTPUT,
        show_default=False,
        help="Also draw sheet.png: for what starts from noise it takes a second run.",
    ),
]

_EXAMPLE = """Give e.g. --also 'proxedit={"quantile": 0.7}'."""


def method_app(name: str, tokens: Sequence[str]) -> tuple[App, list[str]]:
    """Return a command with one for each installed method, and the tokens it is to read.

    Only the asked method is imported.

    Raises
    ------
    UnknownNameError
        If the asked method is not installed; the message lists those that are.
    """
    app = App(name=name, help=COMMANDS[name])
    asked = next(iter(tokens), "")
    for other, point in registry.find("methods").items():
        if other != asked:
            origin = point.dist.metadata["Summary"] if point.dist else point.value
            app.command(point.value, name=other, help=origin)
    if asked and not asked.startswith("-"):
        from underpaint.commands.parameters import add_flags, complete

        method = registry.load("methods", asked)
        body = getattr(import_module(f"underpaint.commands.{name}"), name)
        app.command(add_flags(method, body), name=asked)
        return app, complete(method, tokens)
    return app, list(tokens)


def read_methods(texts: Sequence[str] | None) -> list[Method]:
    """Read what ``--also`` was given; see `read_method`."""
    return [read_method(text) for text in texts or ()]


def read_method(text: str) -> Method:
    """Read ``NAME`` or ``NAME={...}``, a method with its parameters as JSON.

    Raises
    ------
    InvalidRequestError, UnknownNameError
        For what is no JSON object, parameters that it refuses, or a method that is not installed.
    """
    from underpaint.commands.parameters import make

    name, _, parameters = text.partition("=")
    try:
        values = json.loads(parameters or "{}")
    except ValueError as error:
        raise InvalidRequestError(f"--also {text}: {error}. {_EXAMPLE}") from error
    if not isinstance(values, dict):
        raise InvalidRequestError(f"--also {text}: the parameters are no object. {_EXAMPLE}")
    return make(registry.load("methods", name), values)
