"""A checkpoint of Stable Diffusion 1.5's size with random weights: for time and memory alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel
from underpaint import registry

WIDTH = 768


def save_full_size_checkpoint(folder: Path) -> Path:
    """Write a diffusers folder (4 GB) and return it.

    The UNet and the VAE have the configuration of Stable Diffusion 1.5, the text encoder that of
    CLIP ViT-L/14 but for its vocabulary, which is picturebook's with picturebook's tokenizer.
    """
    small = Path(registry.load("models", "picturebook")())
    folder.mkdir(parents=True)
    for part in ("tokenizer", "scheduler"):
        shutil.copytree(small / part, folder / part)
    vocabulary = json.loads((small / "text_encoder" / "config.json").read_text())["vocab_size"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        UNet2DConditionModel(
            sample_size=64, cross_attention_dim=WIDTH, attention_head_dim=8
        ).save_pretrained(folder / "unet")
        _vae().save_pretrained(folder / "vae")
        _text_encoder(vocabulary).save_pretrained(folder / "text_encoder")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=1))
    return folder


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        sample_size=512,
    )


def _text_encoder(vocabulary: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=12,
            num_attention_heads=12,
            max_position_embeddings=77,
            hidden_act="quick_gelu",
        )
    )
