"""From the template to a folder, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import underpaint
from underpaint.errors import InvalidRequestError
from underpaint.scaffold.names import Names

Flavour = Literal["forward", "guidance"]
"""``forward`` edits attention on the way, ``guidance`` goes down an energy."""

FLAVOURS: tuple[Flavour, ...] = get_args(Flavour)

_FACTS: dict[Flavour, dict[str, str]] = {
    "forward": {
        "summary": "make a word weigh more or less by scaling its attention",
        "arxiv": "2208.01626",
    },
    "guidance": {
        "summary": "draw a word into a box by going down an energy of its attention",
        "arxiv": "2304.03373",
    },
}

_SUFFIX = ".jinja"


def write_plugin(names: Names, flavour: Flavour, folder: Path) -> list[Path]:
    """Write a new plugin and return its files, relative to `folder` and sorted.

    All is written beside `folder` first, which then appears at once.

    Raises
    ------
    InvalidRequestError
        If `folder` is there and not empty, or the system refuses to write.
    """
    _check_target(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as draft:
            whole = Path(draft) / folder.name
            written = [_write(whole, path, text) for path, text in render(names, flavour)]
            if folder.exists():
                folder.rmdir()  # some systems do not rename onto an empty folder
            whole.rename(folder)
    except OSError as error:
        raise InvalidRequestError(
            f"Cannot write {error.filename or folder}: {error.strerror}. Choose another -o."
        ) from error
    return sorted(written)


def render(names: Names, flavour: Flavour) -> Iterator[tuple[Path, str]]:
    """Yield every file of the plugin, relative to its folder, with its text."""
    # A template with a slip must not come out with a hole in it.
    from jinja2 import DictLoader, Environment, StrictUndefined

    values = {
        "name": names.name,
        "distribution": names.distribution,
        "package": names.package,
        "class": names.class_name,
        "title": names.title,
        "version": underpaint.__version__,
        **_FACTS[flavour],
    }
    sources = {path: text for part in ("common", flavour) for path, text in _sources(part)}
    # What comes out is Python and TOML, where HTML's escapes would be wrong.
    environment = Environment(  # noqa: S701
        loader=DictLoader(sources), undefined=StrictUndefined, keep_trailing_newline=True
    )
    for path in sources:
        name = environment.from_string(path.removesuffix(_SUFFIX)).render(values)
        yield Path(name), environment.get_template(path).render(values)


def _sources(part: str) -> Iterator[tuple[str, str]]:
    root = Path(str(files("underpaint.scaffold") / "template" / part))
    for path in sorted(root.rglob(f"*{_SUFFIX}")):
        yield path.relative_to(root).as_posix(), path.read_text("utf-8")


def _write(root: Path, path: Path, text: str) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, "utf-8", newline="\n")
    return path


def _check_target(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InvalidRequestError(f"{folder} is a file: give a new folder, -o FOLDER.")
    if folder.is_dir() and any(os.scandir(folder)):
        raise InvalidRequestError(
            f"{folder} is not empty: nothing was written. Give a new folder, -o FOLDER."
        )
