"""``underpaint replay``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from underpaint.commands.answer import Answer, answer_files
from underpaint.commands.editing import PICTURE as PICTURE_FILE
from underpaint.commands.editing import picture_files
from underpaint.commands.files import RECIPE_KEY, check_folder, write_all
from underpaint.commands.options import MODEL, PICTURE, Loading, OutputFolder, RunTalk
from underpaint.commands.progress import open_pipeline
from underpaint.errors import InvalidRequestError
from underpaint.recipe import read_recipe

TALK = RunTalk()


def replay(
    recipe: Annotated[Path, Parameter(help="A result.json, or a PNG that underpaint wrote.")],
    /,
    *,
    output: OutputFolder,
    image: Annotated[
        list[Path] | None,
        Parameter(
            group=PICTURE,
            negative=(),
            help="The picture that was edited; left out: picture.png beside the recipe.",
        ),
    ] = None,
    model: Annotated[str | None, Parameter(group=MODEL, help="Where the model is now.")] = None,
    device: Annotated[str | None, Parameter(group=MODEL, help="Where to compute.")] = None,
    talk: RunTalk = TALK,
) -> Answer:
    """Repeat the call that a result.json or a picture describes."""
    check_folder(output)
    record = read_record(recipe)
    found = _loading(record, recipe)
    loading = replace(found, model=model or found.model, device=device or found.device)
    with open_pipeline(loading, talk) as pipe:
        call = read_recipe(record["recipe"], pipe.engine, image or _beside(recipe))
        files, data = picture_files(pipe, call, loading, talk, sheet=bool(call["edits"]))
    paths = {output / name: content for name, content in files.items()}
    write_all(paths)
    return answer_files(data, list(paths))


def read_record(path: Path) -> dict[str, Any]:
    """Return what a result.json holds, or at least the recipe that a picture carries.

    Raises
    ------
    InvalidRequestError
        If the file cannot be read or holds no recipe.
    """
    try:
        text = _picture_text(path) if path.suffix.lower() == ".png" else path.read_text("utf-8")
        record = json.loads(text)
    except OSError as error:
        raise InvalidRequestError(f"Cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise InvalidRequestError(
            f"{path} holds no recipe: {error}. Give a result.json, or a PNG that underpaint wrote."
        ) from error
    if isinstance(record, dict) and isinstance(record.get("recipe"), dict):
        return record
    return {"recipe": record if isinstance(record, dict) else {}}


def _beside(recipe: Path) -> list[Path] | None:
    """Return the pictures that an edit left beside its recipe, if any."""
    several = recipe.parent.glob(f"{PICTURE_FILE.stem}-*{PICTURE_FILE.suffix}")
    numbered = sorted(several, key=lambda path: int(path.stem.rpartition("-")[2]))
    alone = recipe.with_name(PICTURE_FILE.name)
    return [alone] if alone.is_file() else numbered or None


def _picture_text(path: Path) -> str:
    from PIL import Image

    with Image.open(path) as image:
        return str(image.info.get(RECIPE_KEY, ""))


def _loading(record: dict[str, Any], path: Path) -> Loading:
    recipe = record["recipe"]
    missing = [key for key in ("model", "engine", "dtype") if key not in recipe]
    if missing:
        raise InvalidRequestError(
            f"{path} holds no recipe: it does not name {', '.join(missing)}. "
            "Give a result.json, or a PNG that underpaint wrote."
        )
    return Loading(
        model=record.get("model", {}).get("source", recipe["model"]),
        engine=recipe["engine"],
        dtype=recipe["dtype"],
        device=record.get("device", "cpu"),
    )
