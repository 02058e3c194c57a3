"""Writing a bundle: export, share weights, compare with PyTorch, describe."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from uuid import uuid4

import onnx_ir as ir
import torch
from rich.console import Console
from rich.progress import Progress
from underpaint.engine import ModelInfo
from underpaint.errors import InvalidRequestError
from underpaint.precision import dtype_name
from underpaint_engines.bundle import (
    MANIFEST,
    TOKENIZER,
    Compiled,
    Graph,
    Manifest,
    Parity,
    write_manifest,
)
from underpaint_engines.checkpoint import open_checkpoint
from underpaint_engines.files import digest_file
from underpaint_engines.module_loading import special_tokens
from underpaint_engines.modules import Modules, describe, load_modules
from underpaint_engines.runtime import Runtime

from underpaint_export.biases import without_biases
from underpaint_export.gradients import differentiate
from underpaint_export.graphs import GraphSpec, codec_specs, text_spec, unet_specs
from underpaint_export.onnx_graph import describe as describe_graph
from underpaint_export.onnx_graph import to_onnx
from underpaint_export.parity import compare
from underpaint_export.weights import share_weights

MAX_ROWS = 16
WEIGHTS = "weights.safetensors"
Compiler = Callable[[Path, str, Graph], Compiled]
"""Takes the bundle's folder, a graph's name and its record."""

_PACKAGES = ("underpaint", "torch", "diffusers", "transformers", "onnx", "onnxscript")


def write_bundle(
    source: str | Path,
    folder: Path,
    *,
    runtime: Runtime,
    name: str,
    sizes: Sequence[int] = (),
    max_rows: int = MAX_ROWS,
    compiler: Compiler | None = None,
    quiet: bool = False,
) -> Manifest:
    """Export a Stable Diffusion checkpoint for a runtime.

    The folder is written beside its place and moved there when it is whole.

    Parameters
    ----------
    source : a diffusers folder, or a name on the Hugging Face hub.
    folder : the bundle; it must not exist.
    runtime : runs each graph beside PyTorch; it names the UNet's precision (codecs are fp32).
    name : the model's name.
    sizes : heights and widths in pixels, each square; empty takes the model's own.
    max_rows : the largest batch the engine takes.
    compiler : compiles each graph for a device that is not there, to know that it can be.
    quiet : show no progress.

    Raises
    ------
    InvalidRequestError
        If the folder exists, or a size is none that the model can make.
    ModelLoadError
        If the checkpoint cannot be used, or a graph does not do what its module does.
    """
    progress = Progress(console=Console(stderr=True), disable=quiet, transient=True)
    with _whole(folder) as unfinished, progress:
        checkpoint = open_checkpoint(source)
        modules = load_modules(checkpoint, runtime.dtype, torch.device("cpu"))
        info = describe(name, checkpoint, modules)
        specs = _specs(modules, info, _latent_sizes(sizes, info))
        graphs = _export(specs, unfinished, runtime, max_rows, progress)
        parity = _compare(specs, graphs, unfinished, runtime, progress)
        compiled = _compile(graphs, unfinished, compiler, progress)
        modules.tokenizer.backend_tokenizer.save(str(unfinished / TOKENIZER))
        manifest = Manifest(
            info=info,
            dtype=dtype_name(runtime.dtype),
            opset=runtime.opset,
            special_tokens=special_tokens(modules.tokenizer),
            graphs=graphs,
            files=_digests(unfinished),
            parity=tuple(parity),
            compiled=tuple(compiled),
            versions={**{each: version(each) for each in _PACKAGES}, **runtime.versions},
        )
        write_manifest(unfinished, manifest)
    return manifest


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Lend a folder beside `folder`, which takes its place when all is well and else goes."""
    if folder.exists():
        raise InvalidRequestError(f"{folder} exists. Name another folder, or remove it first.")
    partial = folder.with_name(f".{folder.name}.{uuid4().hex}")
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _latent_sizes(sizes: Sequence[int], info: ModelInfo) -> list[tuple[int, int]]:
    if not sizes:
        return [info.latent_size]
    least = info.vae_factor * 2**info.sites.deepest_level
    wrong = [size for size in sizes if size < least or size % least]
    if wrong:
        raise InvalidRequestError(
            f"--size {wrong[0]}: {info.name} makes pictures whose sides are multiples of {least} "
            f"pixels, e.g. {info.latent_size[0] * info.vae_factor}."
        )
    return [(size // info.vae_factor, size // info.vae_factor) for size in dict.fromkeys(sizes)]


def _specs(modules: Modules, info: ModelInfo, sizes: Iterable[tuple[int, int]]) -> list[GraphSpec]:
    torch.manual_seed(0)  # the examples that graphs are traced with
    sized = [
        spec
        for size in sizes
        for spec in (*codec_specs(modules, info, size), *unet_specs(modules, info, size))
    ]
    return [text_spec(modules, info), *sized]


def _export(
    specs: Sequence[GraphSpec],
    folder: Path,
    runtime: Runtime,
    max_rows: int,
    progress: Progress,
) -> dict[str, Graph]:
    """Write every graph, part by part, and return the manifest's records of them."""
    task = progress.add_task("exporting", total=len(specs))
    graphs = {}
    for part in dict.fromkeys(spec.part for spec in specs):
        models: dict[str, ir.Model] = {}
        for spec in (each for each in specs if each.part == part):
            progress.update(task, description=f"exporting {spec.name}")
            models[spec.name] = (
                without_biases(models[spec.biased]) if spec.biased else to_onnx(spec, runtime.opset)
            )
            progress.advance(task)
        (folder / part).mkdir()
        share_weights(list(models.values()), folder / part / WEIGHTS)
        batched = {spec.name for spec in specs if spec.batched}
        for name, model in models.items():
            file = f"{part}/{name.removeprefix(part).strip('/@') or part}.onnx".replace("@", "_")
            ir.save(model, folder / file)
            dtype = dtype_name(runtime.dtype) if part == "unet" else "fp32"
            graphs[name] = describe_graph(model, file, dtype, max_rows if name in batched else 1)
    gc.collect()  # traced programs are cycles that hold copies of the weights
    return graphs


def _compare(
    specs: Sequence[GraphSpec],
    graphs: dict[str, Graph],
    folder: Path,
    runtime: Runtime,
    progress: Progress,
) -> list[Parity]:
    task = progress.add_task("comparing", total=len(specs))
    records = []
    for spec in specs:
        progress.update(task, description=f"comparing {spec.name}")
        pairs = [(spec, graphs[spec.name])]
        if runtime.gradients and spec.name.startswith("unet/bias"):
            pairs.append(differentiate(spec, graphs[spec.name], "sample"))
        for each, graph in pairs:
            outputs = [port.name for port in graph.outputs]
            records += compare(each, graph, partial(runtime.open, folder, graph, outputs))
        progress.advance(task)
    return records


def _compile(
    graphs: dict[str, Graph], folder: Path, compiler: Compiler | None, progress: Progress
) -> list[Compiled]:
    if compiler is None:
        return []
    task = progress.add_task("compiling", total=len(graphs))
    records = []
    for name, graph in graphs.items():
        progress.update(task, description=f"compiling {name}")
        records.append(compiler(folder, name, graph))
        progress.advance(task)
    return records


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != MANIFEST)
    return {file.relative_to(folder).as_posix(): digest_file(file) for file in files}
