"""``underpaint plugins new NAME``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from underpaint.commands.answer import Answer, answer_files
from underpaint.commands.options import OUTPUT, JsonFlag, Talk
from underpaint.commands.progress import tell
from underpaint.scaffold import Flavour, check_name, write_plugin


def new(
    name: Annotated[str, Parameter(help="Of the method, e.g. word-weight.")],
    /,
    *,
    flavour: Annotated[
        Flavour, Parameter(help="forward edits attention, guidance goes down an energy.")
    ] = "forward",
    output: Annotated[
        Path | None,
        Parameter(
            name=("--output", "-o"), group=OUTPUT, help="A new folder; underpaint-NAME if left out."
        ),
    ] = None,
    json: JsonFlag = False,
) -> Answer:
    """Write a new plugin: a whole package with a method that works, and its tests."""
    names = check_name(name)
    folder = output or Path(names.distribution)
    files = write_plugin(names, flavour, folder)
    place = shlex.quote(str(folder))
    steps = [
        f"cd {place}",
        "pip install -e '.[dev]'",
        "python -m pytest",
        "underpaint plugins validate .",
    ]
    tell("Next:\n  " + "\n  ".join(steps), Talk(quiet=json))
    data = {
        "name": names.name,
        "distribution": names.distribution,
        "package": names.package,
        "class": names.class_name,
        "flavour": flavour,
        "folder": str(folder.resolve()),
        "files": [path.as_posix() for path in files],
        "next": steps,
    }
    return answer_files(data, [folder / path for path in files])
