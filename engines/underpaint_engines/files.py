"""The files of a checkpoint: finding, checking and hashing them.

Weights are read from safetensors only: a pickle (.bin, .ckpt, .pt) can run code when it is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from underpaint.errors import ModelLoadError

WEIGHTS: Mapping[str, str] = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}
"""The parts that have weights, and the stem of their files."""

PICKLES = (".bin", ".ckpt", ".pt", ".pth")
DIGEST_BLOCK = 1 << 20


def find_weights(folder: Path, part: str) -> tuple[str | None, list[Path]]:
    """Return the variant and the weight files of a part, after a look at each file's header.

    Raises
    ------
    ModelLoadError
        If there are none, or only a pickle, or a file is corrupt.
    """
    for variant in (None, "fp16"):
        files = _weight_files(folder / part, WEIGHTS[part], variant)
        if files:
            for file in files:
                _check_safetensors(file)
            return variant, files
    pickles = [file.name for file in (folder / part).iterdir() if file.suffix in PICKLES]
    if pickles:
        raise ModelLoadError(
            f"{folder / part} holds its weights as a pickle only ({', '.join(sorted(pickles))}), "
            "which can run code when it is read. If you trust where it comes from, convert it: "
            'python -c "import diffusers; diffusers.StableDiffusionPipeline.from_pretrained('
            f"'{folder}', use_safetensors=False).save_pretrained('{folder.name}-safetensors')\""
        )
    raise ModelLoadError(
        f"{folder / part} holds no {WEIGHTS[part]}.safetensors. Download the checkpoint again."
    )


def read_json(file: Path) -> dict[str, Any]:
    """Return a JSON object.

    Raises
    ------
    ModelLoadError
        If the file is missing or holds anything else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelLoadError(f"{file} is missing. Download the checkpoint again.") from error
    except (OSError, ValueError) as error:
        raise ModelLoadError(f"{file} is not readable as JSON ({error}).") from error
    if not isinstance(content, dict):
        raise ModelLoadError(f"{file} holds no JSON object.")
    return content


def digest_files(folder: Path, files: Iterable[Path]) -> str:
    """Return the sha256 of files and of their names within `folder`."""
    total = hashlib.sha256()
    for file in sorted(set(files), key=lambda file: file.relative_to(folder).as_posix()):
        total.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode())
        for block in _blocks(file):
            total.update(block)
    return total.hexdigest()


def digest_file(file: Path) -> str:
    """Return the sha256 of one file's content."""
    total = hashlib.sha256()
    for block in _blocks(file):
        total.update(block)
    return total.hexdigest()


def _weight_files(folder: Path, stem: str, variant: str | None) -> list[Path]:
    single = folder / f"{stem}.{variant + '.' if variant else ''}safetensors"
    if single.is_file():
        return [single]
    index = folder / f"{stem}.safetensors.index{'.' + variant if variant else ''}.json"
    if not index.is_file():
        return []
    return [folder / name for name in sorted(set(read_json(index).get("weight_map", {}).values()))]


def _check_safetensors(file: Path) -> None:
    try:
        with safe_open(file, framework="pt"):
            pass  # opening compares the header with the length of the file
    except (OSError, SafetensorError) as error:
        raise ModelLoadError(
            f"{file} is corrupt or cut short ({error}). Download it again."
        ) from error


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while block := stream.read(DIGEST_BLOCK):
            yield block
