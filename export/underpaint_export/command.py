"""``underpaint export MODEL --to onnxruntime -o FOLDER``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from underpaint import registry
from underpaint.commands.answer import Answer, answer_table
from underpaint.commands.options import JsonFlag
from underpaint.errors import InvalidRequestError
from underpaint.precision import Dtype

if TYPE_CHECKING:
    import torch
    from rich.table import Table
    from underpaint_engines.bundle import Manifest
    from underpaint_engines.runtime import Runtime
    from underpaint_engines.tensorrt.api import Api

    from underpaint_export.bundle import Compiler

Target = Literal["onnxruntime", "openvino", "tensorrt", "tensorrt-rtx"]


def export(
    model: Annotated[str, Parameter(help="An installed model, a folder, or a hub name.")],
    /,
    *,
    to: Annotated[Target, Parameter(help="The engine that is to run it.")],
    output: Annotated[Path, Parameter(name=("--output", "-o"), help="The bundle; a new folder.")],
    dtype: Annotated[Dtype, Parameter(help="The precision the UNet computes in.")] = "fp32",
    size: Annotated[str, Parameter(help="Sides in pixels, e.g. 256,512; the model's own.")] = "",
    max_rows: Annotated[int, Parameter(help="The largest batch.")] = 16,
    gradients: Annotated[
        bool, Parameter(negative=(), help="Also what gradient guidance needs; minutes more.")
    ] = False,
    json: JsonFlag = False,
) -> Answer:
    """Export a model for a compiled engine; its folder is then a model for --model.

    For TensorRT this needs no GPU. Where there is none, the graphs are compared with PyTorch on the
    processor, and TensorRT-RTX compiles them for SM 8.9 without executing them.
    """
    from underpaint_export.bundle import write_bundle

    name, source = registry.locate_model(model)
    runtime, compiler = _target(to, dtype)
    manifest = write_bundle(
        source,
        output,
        runtime=runtime,
        name=name,
        sizes=_sizes(size),
        max_rows=max_rows,
        gradients=gradients,
        compiler=compiler,
        quiet=json,
    )
    return _answer(manifest, output, runtime)


def _target(target: Target, precision: Dtype) -> tuple[Runtime, Compiler | None]:
    """Return what runs the graphs while they are written, and what compiles them beside that.

    Raises
    ------
    PluginError
        If a package is not installed.
    ModelLoadError
        If the engine does not compute in that precision here.
    """
    import torch
    from underpaint.precision import torch_dtype

    dtype, cpu = torch_dtype(precision), torch.device("cpu")
    if target.startswith("tensorrt"):
        return _tensorrt(target, dtype)
    registry.load("engines", target)  # which says what to install if something is missing
    if target == "openvino":
        from underpaint_engines.openvino import OpenVino

        return OpenVino(cpu, dtype), None
    from underpaint_engines.onnxruntime import OnnxRuntime

    return OnnxRuntime(cpu, dtype), None


def _tensorrt(target: Target, dtype: torch.dtype) -> tuple[Runtime, Compiler | None]:
    import torch

    if torch.cuda.is_available():
        from underpaint_engines.tensorrt.runtime import TensorRt

        return TensorRt(_api(target), torch.device("cuda"), dtype), None
    registry.load("engines", "openvino")
    from underpaint_export.tensorrt import Rehearsal, compile_ahead

    compiler = compile_ahead(_api(target)) if target == "tensorrt-rtx" else None
    return Rehearsal(target, dtype), compiler


def _api(target: Target) -> Api:
    registry.load("engines", target)
    if target == "tensorrt-rtx":
        from underpaint_engines.tensorrt import rtx

        return rtx.API
    from underpaint_engines.tensorrt import standard

    return standard.API


def _sizes(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise InvalidRequestError(f"--size {text!r}: give sides in pixels, e.g. --size 256,512.")
    return [int(part) for part in parts]


def _answer(manifest: Manifest, folder: Path, runtime: Runtime) -> Answer:
    from rich.table import Table

    table = Table("graph", "file", "inputs", "readings", "from PyTorch", box=None)
    for name, graph in manifest.graphs.items():
        worst = max(each.difference for each in manifest.parity if each.graph == name)
        table.add_row(
            name, graph.file, str(len(graph.inputs)), str(len(graph.outputs) - 1), f"{worst:.1e}"
        )
    data = {"folder": str(folder), **manifest.model_dump(mode="json")}
    device = " --device cuda" if runtime.name.startswith("tensorrt") else ""
    run = f"Run it: --model {folder} --engine {runtime.name}{device}"
    return answer_table(data, table, *_compiled(manifest, runtime), run)


def _compiled(manifest: Manifest, runtime: Runtime) -> list[str | Table]:
    """Return what TensorRT made of the graphs on a machine without its GPU."""
    from rich.table import Table

    if runtime.name == "tensorrt" and runtime.device.type == "cpu":
        return ["Compared, not compiled: TensorRT compiles on the GPU that it runs on."]
    if not manifest.compiled:
        return []
    table = Table("graph", "engine MB", "seconds", box=None)
    for each in manifest.compiled:
        table.add_row(each.graph, f"{each.size / 1e6:.1f}", f"{each.seconds:.1f}")
    target = manifest.compiled[0].target
    return [f"Compiled, not executed, by {target}:", table]
