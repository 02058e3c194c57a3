"""Training scenes as the UNet sees them: latents, token ids, and where each word's object is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTokenizer

from underpaint_picturebook.backgrounds import SIDE
from underpaint_picturebook.train import precision
from underpaint_picturebook.train.data import Renders
from underpaint_picturebook.train.vae import to_signal

WORDS = 10
"""Most naming tokens of a scene: three objects, two tokens a noun, one a colour; the ground."""
MASK_SIDE = 16
BATCH = 4
"""Pictures encoded at once: few, as the activations at 256x256 are large next to a cache."""
SAVED = 512
"""Scenes encoded between two saves."""
MOST_OBJECTS = 3
GROUND = MOST_OBJECTS
"""Index of the ground's mask, after the objects'."""


@dataclass(frozen=True)
class Latents:
    """One row a scene.

    `latents` float16 [N, 4, 32, 32]; `ids` int16 [N, 77]; `masks` uint8 [N, 4, 16, 16], the
    share of each cell that an object, or last the ground, covers in 255ths; `tokens` int8
    [N, 10], -1 where unused, and `owners` int8 [N, 10], the mask of what the token names.
    """

    latents: Tensor
    ids: Tensor
    masks: Tensor
    tokens: Tensor
    owners: Tensor


def _encode(vae: AutoencoderTiny, images: np.ndarray, device: str) -> Tensor:
    with torch.no_grad(), precision.autocast(device):
        out: Tensor = vae.encode(to_signal(images).to(device)).latents
    scaled: Tensor = out.float() * vae.config.scaling_factor
    return scaled.half().cpu()


def _cells(marks: np.ndarray, horizons: np.ndarray) -> Tensor:
    """Return the share of each 16x16 cell that is object 1 to 3, or ground: uint8 [N, 4, 16, 16].

    `horizons` [N] say where the ground begins, from 0 at the top to 1.
    """
    step = SIDE // MASK_SIDE
    below = np.arange(SIDE)[None, :, None] >= np.round(SIDE * horizons)[:, None, None]
    layers = [marks == k + 1 for k in range(MOST_OBJECTS)] + [below & (marks == 0)]
    blocks = np.stack(layers, axis=1).reshape(len(marks), -1, MASK_SIDE, step, MASK_SIDE, step)
    return torch.from_numpy((255 * blocks.mean(axis=(3, 5))).round().astype(np.uint8))


def naming_tokens(truth: dict[str, Any], offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return (token position, mask index) of every noun, colour word and word for the ground."""
    named = [
        (span, owner)
        for owner, item in enumerate(truth["objects"])
        for span in (item["noun"], item["colour_word"])
    ]
    return [
        (position, owner)
        for span, owner in [*named, (truth["ground"], GROUND)]
        if span is not None
        for position, (start, end) in enumerate(offsets)
        if start < end and start >= span[0] and end <= span[1]
    ]


def _text(tokenizer: CLIPTokenizer, truth: list[dict[str, Any]]) -> dict[str, Tensor]:
    encoded = tokenizer(
        [item["caption"] for item in truth],
        padding="max_length",
        truncation=True,
        return_offsets_mapping=True,
    )
    tokens = torch.full((len(truth), WORDS), -1, dtype=torch.int8)
    owners = torch.zeros((len(truth), WORDS), dtype=torch.int8)
    for row, (item, offsets) in enumerate(zip(truth, encoded["offset_mapping"], strict=True)):
        for column, (position, owner) in enumerate(naming_tokens(item, offsets)):
            tokens[row, column], owners[row, column] = position, owner
    ids = torch.tensor(encoded["input_ids"], dtype=torch.int16)
    return {"ids": ids, "tokens": tokens, "owners": owners}


def latents(
    file: Path, data: Renders, vae: AutoencoderTiny, tokenizer: CLIPTokenizer, device: str
) -> Latents:
    """Return the encoded scenes, encoding those that `file` does not hold yet.

    The file is kept up as it goes: an interruption costs `SAVED` scenes at most.
    """
    done = load_file(file)["latents"] if file.is_file() else torch.empty(0, 4, 32, 32).half()
    while len(done) < len(data.truth):
        end = min(len(done) + SAVED, len(data.truth))
        starts = range(len(done), end, BATCH)
        new = [_encode(vae, data.images[k : min(k + BATCH, end)], device) for k in starts]
        done = torch.cat([done, *new]).contiguous()
        _save(file, done)
    horizons = np.array([item["horizon"] for item in data.truth])
    cells = [
        _cells(data.marks[k : k + 256], horizons[k : k + 256])
        for k in range(0, len(data.truth), 256)
    ]
    return Latents(
        latents=done[: len(data.truth)],
        masks=torch.cat(cells),
        **_text(tokenizer, data.truth),
    )


def _save(file: Path, values: Tensor) -> None:
    partial = file.with_suffix(".partial")
    save_file({"latents": values}, partial)
    partial.replace(file)
