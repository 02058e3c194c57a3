"""``underpaint models list`` and ``underpaint models info NAME``."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from underpaint import registry
from underpaint.commands import COMMANDS
from underpaint.commands.answer import Answer, answer_table
from underpaint.commands.options import JsonFlag, Loading, Talk
from underpaint.commands.progress import open_pipeline
from underpaint.errors import PluginError

if TYPE_CHECKING:
    from underpaint.engine import ModelInfo

models = App(name="models", help=COMMANDS["models"])


@models.command(name="list")
def list_(*, json: JsonFlag = False) -> Answer:
    """List the installed models."""
    del json
    from rich.table import Table

    data = [_entry(point) for point in registry.find("models").values()]
    table = Table("model", "version", "distribution", "size", "folder", box=None)
    for entry in data:
        place = entry.get("problem", entry["folder"])
        table.add_row(
            entry["name"], entry["version"], entry["distribution"], _mega(entry["bytes"]), place
        )
    hint = "Any folder in the diffusers format works as well: --model path/to/folder."
    return answer_table(data, table if data else "No models are installed.", hint)


@models.command
def info(
    name: Annotated[str, Parameter(help="An installed model, a folder, or a hub name.")],
    /,
    *,
    json: JsonFlag = False,
) -> Answer:
    """Load a model and describe it."""
    _, source = registry.locate_model(name)
    with open_pipeline(Loading(model=name), Talk(quiet=json)) as pipe:
        data = _describe(pipe.engine.info, source)
    lines = [
        f"{data['name']}: {data['width']}x{data['height']} pixels, {_mega(data['bytes'])}",
        f"folder  {data['folder']}",
        f"digest  {data['digest']}",
        f"recommended  {data['num_inference_steps']} steps, guidance {data['guidance_scale']:g}",
        f"predicts  {data['prediction_type']}\n",
    ]
    return answer_table(data, "\n".join(lines), _site_table(data))


def _describe(info: ModelInfo, source: str | Path) -> dict[str, Any]:
    rows, columns = info.latent_size
    counts = Counter((site.level, site.kind) for site in info.sites.all)
    levels = [
        {
            "level": level,
            "grid": [rows >> level, columns >> level],
            **{kind: counts[level, kind] for kind in ("cross", "self", "activation")},
            "words": level == info.sites.word_level,
        }
        for level in sorted({level for level, _ in counts})
    ]
    return {
        "name": info.name,
        "digest": info.digest,
        **_place(source),
        "width": columns * info.vae_factor,
        "height": rows * info.vae_factor,
        "num_inference_steps": info.num_inference_steps,
        "guidance_scale": info.guidance_scale,
        "prediction_type": info.noise.prediction_type,
        "sites": levels,
    }


def _site_table(data: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("level", "grid", "cross", "self", "activations", "", box=None)
    for entry in data["sites"]:
        grid = "x".join(map(str, entry["grid"]))
        counts = (str(entry[kind]) for kind in ("cross", "self", "activation"))
        table.add_row(str(entry["level"]), grid, *counts, "words' maps" if entry["words"] else "")
    return table


def _entry(point: EntryPoint) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": point.name,
        "version": point.dist.version if point.dist else "",
        "distribution": point.dist.name if point.dist else "",
    }
    try:
        _, source = registry.locate_model(point.name)
    except PluginError as error:
        return entry | {"folder": "", "bytes": 0, "problem": str(error)}
    return entry | _place(source)


def _place(source: str | Path) -> dict[str, Any]:
    folder = Path(source)
    if not folder.is_dir():
        return {"folder": str(source), "bytes": 0}
    files = (file for file in folder.rglob("*") if file.is_file())
    return {"folder": str(folder), "bytes": sum(file.stat().st_size for file in files)}


def _mega(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size else "?"
