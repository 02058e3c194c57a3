"""Writing files whole or not at all."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from underpaint.errors import InvalidRequestError, choices

if TYPE_CHECKING:
    from PIL.Image import Image

RECIPE_KEY = "underpaint"
"""Name of the PNG text that holds the recipe."""

FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def check_picture(path: Path) -> Path:
    """Return the path of a picture to write, or raise InvalidRequestError before any work."""
    if path.is_dir():
        raise InvalidRequestError(f"{path} is a folder: give a file, e.g. -o {path / 'image.png'}.")
    if path.suffix.lower() not in FORMATS:
        raise InvalidRequestError(f"-o {path}: {choices(path.suffix, FORMATS)}")
    check_folder(path.parent)
    return path


def check_folder(path: Path) -> Path:
    """Return a folder to write into, existing or not, or raise InvalidRequestError."""
    for place in (path, *path.parents):
        if place.exists():
            if not place.is_dir():
                raise InvalidRequestError(
                    f"{place} is a file: give a folder to write into, e.g. -o out/."
                )
            break
    return path


def numbered(path: Path, count: int) -> list[Path]:
    """Return `count` paths: the path itself, or ``name-1.png``, ``name-2.png``, ..."""
    if count == 1:
        return [path]
    return [path.with_stem(f"{path.stem}-{k + 1}") for k in range(count)]


def encode(image: Image, path: Path, recipe: Mapping[str, Any] | None = None) -> bytes:
    """Return the bytes of a picture in the format of `path`; a PNG carries the recipe."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"format": FORMATS[path.suffix.lower()]}
    if options["format"] == "PNG" and recipe is not None:
        from PIL.PngImagePlugin import PngInfo

        options["pnginfo"] = PngInfo()
        options["pnginfo"].add_text(RECIPE_KEY, json.dumps(recipe, sort_keys=True))
    if options["format"] != "PNG":
        options["quality"] = 95
    image.convert("RGB").save(buffer, **options)
    return buffer.getvalue()


def write_all(files: Mapping[Path, bytes]) -> None:
    """Write every file or, if one cannot be written, none: temporary files, then `os.replace`.

    Raises
    ------
    InvalidRequestError
        If the system refuses, with its reason.
    """
    drafts: dict[Path, Path] = {}
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.{os.getpid()}.part")
            drafts[path] = draft
            draft.write_bytes(content)
        for path, draft in drafts.items():
            draft.replace(path)
    except OSError as error:
        raise InvalidRequestError(
            f"Cannot write {error.filename or 'the files'}: {error.strerror}. Choose another -o."
        ) from error
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
