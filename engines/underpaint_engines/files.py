"""The files of a checkpoint: finding, checking and hashing them.

Weights are read from safetensors only: a pickle (.bin, .ckpt, .pt) can run code when it is read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
READ_BLOCK = 1 << 20
DIGEST_BLOCK = 64 * READ_BLOCK


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
    """Return a digest of files and of their names within `folder`."""
    names = {file.relative_to(folder).as_posix(): file for file in files}
    lines = (f"{name}\0{digest_file(names[name])}\n" for name in sorted(names))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def digest_file(file: Path) -> str:
    """Return the digest of one file: the sha256 of the sha256 of its blocks of 64 MiB.

    Blocks are hashed at the same time, for whole models are hashed whenever they are opened.
    """
    starts = range(0, file.stat().st_size, DIGEST_BLOCK)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        blocks = pool.map(partial(_digest_block, file), starts)
        return hashlib.sha256(b"".join(blocks)).hexdigest()


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


def _digest_block(file: Path, start: int) -> bytes:
    total = hashlib.sha256()
    with file.open("rb") as stream:
        stream.seek(start)
        for _ in range(DIGEST_BLOCK // READ_BLOCK):
            total.update(stream.read(READ_BLOCK))
    return total.digest()
