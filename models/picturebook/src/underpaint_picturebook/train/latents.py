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
from underpaint_picturebook.train.data import Renders
from underpaint_picturebook.train.vae import to_signal

WORDS = 9
"""Most naming tokens of a scene: three objects, two tokens a noun, one a colour."""
MASK_SIDE = 16
BATCH = 4
"""Pictures encoded at once: few, as the activations at 256x256 are large next to a cache."""
MOST_OBJECTS = 3


@dataclass(frozen=True)
class Latents:
    """One row a scene.

    `latents` float16 [N, 4, 32, 32]; `ids` int16 [N, 77]; `masks` uint8 [N, 3, 16, 16], the
    share of each cell that the object covers in 255ths; `tokens` int8 [N, 9], -1 where unused,
    and `owners` int8 [N, 9], the object that the token names.
    """

    latents: Tensor
    ids: Tensor
    masks: Tensor
    tokens: Tensor
    owners: Tensor


def _encode(vae: AutoencoderTiny, images: np.ndarray, device: str) -> Tensor:
    with torch.no_grad(), torch.autocast(device, torch.bfloat16):
        out: Tensor = vae.encode(to_signal(images).to(device)).latents
    scaled: Tensor = out.float() * vae.config.scaling_factor
    return scaled.half().cpu()


def _cells(marks: np.ndarray) -> Tensor:
    """Return the share of each 16x16 cell that objects 1 to 3 cover: uint8 [N, 3, 16, 16]."""
    step = SIDE // MASK_SIDE
    blocks = marks.reshape(-1, MASK_SIDE, step, MASK_SIDE, step)
    shares = [(blocks == k + 1).mean(axis=(2, 4)) for k in range(MOST_OBJECTS)]
    return torch.from_numpy((255 * np.stack(shares, axis=1)).round().astype(np.uint8))


def naming_tokens(truth: dict[str, Any], offsets: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return (token position, object index) for the nouns and colour words of a caption."""
    found = []
    for owner, item in enumerate(truth["objects"]):
        for span in (item["noun"], item["colour_word"]):
            if span is not None:
                found += [
                    (position, owner)
                    for position, (start, end) in enumerate(offsets)
                    if start < end and start >= span[0] and end <= span[1]
                ]
    return found[:WORDS]


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
    """Return the encoded scenes, encoding those that `file` does not hold yet."""
    done = load_file(file)["latents"] if file.is_file() else torch.empty(0, 4, 32, 32).half()
    missing = range(len(done), len(data.truth), BATCH)
    parts = [done, *(_encode(vae, data.images[k : k + BATCH], device) for k in missing)]
    if len(parts) > 1:
        partial = file.with_suffix(".partial")
        save_file({"latents": torch.cat(parts)}, partial)
        partial.replace(file)
    cells = [_cells(data.marks[k : k + 256]) for k in range(0, len(data.truth), 256)]
    return Latents(
        latents=torch.cat(parts)[: len(data.truth)],
        masks=torch.cat(cells),
        **_text(tokenizer, data.truth),
    )
