"""``underpaint export MODEL --to onnxruntime -o FOLDER``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from underpaint import registry
from underpaint.commands.answer import Answer, answer_table
from underpaint.commands.options import JsonFlag
from underpaint.errors import InvalidRequestError

if TYPE_CHECKING:
    from underpaint_engines.bundle import Manifest
    from underpaint_engines.runtime import Runtime

Target = Literal["onnxruntime", "openvino"]


def export(
    model: Annotated[str, Parameter(help="An installed model, a folder, or a hub name.")],
    /,
    *,
    to: Annotated[Target, Parameter(help="The engine that is to run it.")],
    output: Annotated[Path, Parameter(name=("--output", "-o"), help="The bundle; a new folder.")],
    size: Annotated[str, Parameter(help="Sides in pixels, e.g. 256,512; the model's own.")] = "",
    max_rows: Annotated[int, Parameter(help="The largest batch.")] = 16,
    json: JsonFlag = False,
) -> Answer:
    """Export a model for a compiled engine; its folder is then a model for --model."""
    from underpaint_export.bundle import write_bundle

    name, source = registry.locate_model(model)
    manifest = write_bundle(
        source,
        output,
        runtime=_runtime(to),
        name=name,
        sizes=_sizes(size),
        max_rows=max_rows,
        quiet=json,
    )
    return _answer(manifest, output)


def _runtime(target: Target) -> Runtime:
    import torch

    if target == "openvino":
        from underpaint_engines.openvino import OpenVino

        return OpenVino(torch.device("cpu"), torch.float32)
    from underpaint_engines.onnxruntime import OnnxRuntime

    return OnnxRuntime(torch.device("cpu"), torch.float32)


def _sizes(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise InvalidRequestError(f"--size {text!r}: give sides in pixels, e.g. --size 256,512.")
    return [int(part) for part in parts]


def _answer(manifest: Manifest, folder: Path) -> Answer:
    from rich.table import Table

    table = Table("graph", "file", "inputs", "readings", "from PyTorch", box=None)
    for name, graph in manifest.graphs.items():
        worst = max(each.difference for each in manifest.parity if each.graph == name)
        table.add_row(
            name, graph.file, str(len(graph.inputs)), str(len(graph.outputs) - 1), f"{worst:.1e}"
        )
    data = {"folder": str(folder), **manifest.model_dump(mode="json")}
    return answer_table(data, table, f"Run it: --model {folder} --engine ENGINE")
