"""``underpaint edit METHOD``: the flags follow from the method's parameters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, Parameter

from underpaint import registry
from underpaint.commands import COMMANDS
from underpaint.commands.answer import Answer, answer_files
from underpaint.commands.editing import picture_files
from underpaint.commands.files import check_folder, write_all
from underpaint.commands.options import (
    METHOD,
    OUTPUT,
    SAMPLING,
    Loading,
    OutputFolder,
    Picture,
    RunTalk,
    Sampling,
)
from underpaint.commands.progress import open_pipeline
from underpaint.errors import InvalidRequestError
from underpaint.method import Method

PICTURE, SAMPLE, LOADING, TALK = Picture(), Sampling(), Loading(), RunTalk()

_EXAMPLE = """Give e.g. --also 'proxedit={"quantile": 0.7}'."""


def edit_app(tokens: Sequence[str]) -> tuple[App, list[str]]:
    """Return `edit` with a command for each installed method, and the tokens it is to read.

    Only the asked method is imported.

    Raises
    ------
    UnknownNameError
        If the asked method is not installed; the message lists those that are.
    """
    app = App(name="edit", help=COMMANDS["edit"])
    asked = next(iter(tokens), "")
    for name, point in registry.find("methods").items():
        if name != asked:
            origin = point.dist.metadata["Summary"] if point.dist else point.value
            app.command(point.value, name=name, help=origin)
    if asked and not asked.startswith("-"):
        from underpaint.commands.parameters import add_flags, complete

        method = registry.load("methods", asked)
        app.command(add_flags(method, edit), name=asked)
        return app, complete(method, tokens)
    return app, list(tokens)


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


def edit(
    method: Method,
    *,
    prompt: Annotated[
        list[str],
        Parameter(group=SAMPLING, negative=(), help="What the edit shows; repeat it for several."),
    ],
    output: OutputFolder,
    also: Annotated[
        list[str] | None,
        Parameter(
            group=METHOD,
            negative=(),
            json_list=False,
            help="Another method in the same run: its name, or NAME={...} with its parameters as "
            "JSON; repeatable.",
        ),
    ] = None,
    sheet: Annotated[
        bool,
        Parameter(
            group=OUTPUT,
            show_default=False,
            help="Also draw sheet.png: for what starts from noise it takes a second run.",
        ),
    ] = True,
    picture: Picture = PICTURE,
    sampling: Sampling = SAMPLE,
    loading: Loading = LOADING,
    talk: RunTalk = TALK,
) -> Answer:
    """Edit with one method, and write the pictures, a sheet and result.json into a folder."""
    check_folder(output)
    others = [read_method(text) for text in also or ()]
    with open_pipeline(loading, talk) as pipe:
        call = sampling.call(prompt) | picture.call() | {"edits": [method, *others]}
        files, data = picture_files(pipe, call, loading, talk, sheet)
    paths = {output / name: content for name, content in files.items()}
    write_all(paths)
    return answer_files(data, list(paths))
