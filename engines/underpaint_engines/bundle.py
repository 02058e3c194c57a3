"""A bundle: a model's parts as ONNX graphs, and what its manifest says of them.

A bundle is a folder. ``manifest.json`` names every other file with its digest; a graph keeps its
weights in a safetensors file beside it, which the graphs of one part share.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from underpaint.engine import ModelInfo
from underpaint.errors import ModelLoadError
from underpaint.precision import Dtype

from underpaint_engines.files import digest_file, read_json
from underpaint_engines.tokenizer import SpecialTokens

MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Port(_Record):
    """One input or output of a graph; a dimension is a number or a name ("rows")."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class Graph(_Record):
    """One ONNX file.

    Attributes
    ----------
    file : its path within the bundle; graphs of one folder share that folder's weights.
    dtype : the precision it computes in; what goes in and out is fp32 all the same.
    inputs, outputs : in the order of the file.
    max_rows : the largest batch it takes; 1 where rows are fixed.
    """

    file: str
    dtype: Dtype
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    max_rows: int = 1


class Parity(_Record):
    """One comparison with PyTorch, made when the bundle was written.

    Attributes
    ----------
    graph, case : what was compared, on which input.
    output : the output's name.
    difference : greatest absolute difference.
    tolerance : what is allowed.
    """

    graph: str
    case: str
    output: str
    difference: float
    tolerance: float


class Compiled(_Record):
    """One graph that was compiled, not executed, for a device that is not there.

    Attributes
    ----------
    graph : what was compiled.
    target : by what and for which device, e.g. "TensorRT-RTX 1.7.1, SM 8.9".
    size : of the engine, in bytes.
    seconds : that it took.
    """

    graph: str
    target: str
    size: int
    seconds: float


class Manifest(_Record):
    """All that an engine needs to know of a bundle.

    Attributes
    ----------
    format : raised whenever the meaning of a bundle changes.
    info : what the model declares about itself.
    dtype : of the UNet's graphs; codecs, which run once per image, are fp32.
    opset : as exported.
    special_tokens : of the tokenizer in ``tokenizer.json``.
    graphs : "text_encoder", "vae_encoder@32x32", "vae_decoder@32x32", "unet/plain@32x32", ...;
        the size is that of the latent.
    files : every other file of the bundle and its digest (`underpaint_engines.files`).
    parity : the comparisons made.
    compiled : the graphs compiled for a device that is not there, and so not executed.
    versions : of what wrote the bundle.
    """

    format: Literal[1] = 1
    info: ModelInfo
    dtype: Dtype
    opset: int
    special_tokens: SpecialTokens
    graphs: dict[str, Graph]
    files: dict[str, str]
    parity: tuple[Parity, ...]
    compiled: tuple[Compiled, ...] = ()
    versions: dict[str, str]

    @property
    def max_rows(self) -> int:
        """The largest batch that the UNet takes; all other graphs have one row."""
        return max(graph.max_rows for graph in self.graphs.values())


def graph_name(part: str, size: tuple[int, int]) -> str:
    """Return the manifest's name of a graph for latents of a size (h, w)."""
    return f"{part}@{size[0]}x{size[1]}"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``; the bundle's last file."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=1)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Read ``manifest.json``.

    Raises
    ------
    ModelLoadError
        If it is missing or not of this version of the format.
    """
    try:
        return Manifest.model_validate(read_json(folder / MANIFEST))
    except ValidationError as error:
        raise ModelLoadError(
            f"{folder / MANIFEST} is not of a bundle that this version reads ({error}). "
            "Write it again: underpaint export MODEL --to onnxruntime -o FOLDER"
        ) from error


def verify(folder: Path, manifest: Manifest) -> None:
    """Compare every file of a bundle with its digest.

    Raises
    ------
    ModelLoadError
        Naming the first file that is missing or has changed.
    """
    for name, digest in manifest.files.items():
        file = folder / name
        if not file.is_file():
            raise ModelLoadError(f"{file} is missing. Export the model again.")
        if digest_file(file) != digest:
            raise ModelLoadError(f"{file} has changed since it was written. Export it again.")
