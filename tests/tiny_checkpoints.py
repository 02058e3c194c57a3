"""Tiny Stable Diffusion checkpoints with random weights, for tests of everything but quality."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, DDIMScheduler, UNet2DConditionModel
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
)

Kind = Literal["sd1", "sd2", "tiny-vae"]

WIDTH = 32
BOS, EOS = "<|startoftext|>", "<|endoftext|>"

# "catalogue" and "grass" take several tokens, "cat" one; what has no rule takes one per byte.
MERGES = (
    *(("c", "a"), ("ca", "t</w>"), ("ca", "t"), ("d", "o"), ("do", "g</w>"), ("o", "n</w>")),
    *(("g", "r"), ("gr", "a"), ("s", "s</w>"), ("t", "h"), ("th", "e</w>"), ("r", "e")),
    *(("re", "d</w>"), ("b", "l"), ("bl", "u"), ("blu", "e</w>"), ("b", "a"), ("ba", "l")),
    *(("l", "o"), ("lo", "g"), ("i", "n"), ("in", "g</w>"), ("'", "s</w>")),
)


def save_tiny_checkpoint(folder: str | Path, kind: Kind = "sd1", seed: int = 0) -> Path:
    """Write a diffusers folder with random weights and return it.

    ``sd1``: four levels, epsilon, AutoencoderKL, 16x16 latents. ``sd2``: three levels,
    v-prediction, linear projections, heads by level, padding with "!" as the original does.
    ``tiny-vae``: three levels, AutoencoderTiny, a tokenizer saved as ``tokenizer.json`` alone.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = _vocabulary()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _unet(kind).save_pretrained(folder / "unet")
        vae = _vae(kind)
        vae.save_pretrained(folder / "vae")
        _text_encoder(vocabulary).save_pretrained(folder / "text_encoder")
    _save_tokenizer(folder / "tokenizer", kind, vocabulary)
    _scheduler(kind).save_pretrained(folder / "scheduler")
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", type(vae).__name__],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    return folder


def _unet(kind: Kind) -> UNet2DConditionModel:
    levels = 4 if kind == "sd1" else 3
    plain, cross = levels - 1, ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D")
    options: dict[str, Any] = {
        "sample_size": 16,
        "block_out_channels": (16, *[32] * plain),
        "layers_per_block": 1,
        "down_block_types": (*[cross[0]] * plain, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", *[cross[1]] * plain),
        "cross_attention_dim": WIDTH,
        "attention_head_dim": 2,
        "norm_num_groups": 8,
    }
    if kind == "sd2":
        options |= {
            "attention_head_dim": (2, 4, 4),
            "use_linear_projection": True,
            "upcast_attention": True,
        }
    unet = UNet2DConditionModel(**options)
    for name, parameter in unet.named_parameters():
        if name.endswith(("to_q.weight", "to_k.weight")):
            # Freshly drawn projections give nearly flat maps, which hide mistakes.
            parameter.data *= 2
    return unet


def tiny_sdxl_unet(seed: int = 0) -> UNet2DConditionModel:
    """Return a UNet built as SDXL's: no attention at the top, several blocks below, conditions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet2DConditionModel(
            sample_size=16,
            block_out_channels=(16, 32, 32),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 2),
            cross_attention_dim=WIDTH,
            attention_head_dim=(2, 4, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + WIDTH,
            norm_num_groups=8,
        )


def _vae(kind: Kind) -> AutoencoderKL | AutoencoderTiny:
    if kind == "tiny-vae":
        return AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        )
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=32,
    )


def _text_encoder(vocabulary: dict[str, int]) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(vocabulary),
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=vocabulary[BOS],
            eos_token_id=vocabulary[EOS],
            pad_token_id=vocabulary[EOS],
            # The library's own spread of 0.02 would give all prompts nearly the same embedding.
            initializer_factor=10.0,
        )
    )


def save_tiny_clip(folder: str | Path, seed: int = 0) -> Path:
    """Add a CLIP with random weights, 32 px in patches of 8, to a tiny checkpoint."""
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        initializer_factor=3.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        text = _text_encoder(_vocabulary()).config
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH)
        CLIPModel(config).save_pretrained(Path(folder) / "clip")
    return Path(folder)


def _scheduler(kind: Kind) -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="v_prediction" if kind == "sd2" else "epsilon",
    )


def _save_tokenizer(folder: Path, kind: Kind, vocabulary: dict[str, int]) -> None:
    pad = "!" if kind == "sd2" else EOS
    if kind == "tiny-vae":
        tokenizer = CLIPTokenizer(
            vocab=vocabulary, merges=list(MERGES), pad_token=pad, model_max_length=77
        )
        tokenizer.save_pretrained(folder)
        return
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in MERGES)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": BOS,
        "eos_token": EOS,
        "unk_token": EOS,
        "pad_token": pad,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def _vocabulary() -> dict[str, int]:
    letters = _byte_letters()
    words = [*letters, *(letter + "</w>" for letter in letters), *map("".join, MERGES), BOS, EOS]
    return {word: index for index, word in enumerate(words)}


def _byte_letters() -> list[str]:
    """Return the printable letters that stand for the 256 bytes in byte-level BPE (GPT-2's)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [*map(chr, printable), *(chr(256 + index) for index in range(len(others)))]
