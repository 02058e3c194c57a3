"""The modules of a checkpoint, built by diffusers and transformers with nothing left to chance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer
from underpaint.engine import ModelInfo
from underpaint.schedule import NoiseSchedule

from underpaint_engines.checkpoint import TOKENIZER, Checkpoint
from underpaint_engines.module_loading import (
    check_report,
    freeze,
    guarded,
    load_tokenizer,
    no_progress_bar,
)
from underpaint_engines.sites import derive_sites


@dataclass(frozen=True, eq=False)
class Modules:
    """The parts of a loaded model, frozen and in evaluation mode.

    The UNet computes in the dtype asked for. The codecs, which run once per image and not once
    per step, always compute in fp32.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL | AutoencoderTiny
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer


def load_modules(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device) -> Modules:
    """Build the modules and load their weights.

    Raises
    ------
    ModelLoadError
        If weights are missing or do not fit the configuration.
    """
    vae_class = AutoencoderTiny if checkpoint.classes["vae"] == "AutoencoderTiny" else AutoencoderKL
    # Both libraries have a faster way of loading that needs accelerate; this one needs nothing.
    options = {"use_safetensors": True, "low_cpu_mem_usage": False}
    unet = _load(checkpoint, "unet", UNet2DConditionModel, torch_dtype=dtype, **options)
    vae = _load(checkpoint, "vae", vae_class, torch_dtype=torch.float32, **options)
    # A large batch would need gigabytes at full image size, and one by one an image does not
    # depend on the images it shares a batch with.
    vae.enable_slicing()
    with no_progress_bar():
        text_encoder = _load(
            checkpoint, "text_encoder", CLIPTextModel, dtype=torch.float32, use_safetensors=True
        )
    return Modules(
        unet=freeze(unet, device),
        vae=freeze(vae, device),
        text_encoder=freeze(text_encoder, device),
        tokenizer=load_tokenizer(checkpoint.folder / TOKENIZER),
    )


def describe(name: str, checkpoint: Checkpoint, modules: Modules) -> ModelInfo:
    """Return what a model declares about itself.

    Raises
    ------
    ModelLoadError
        If its UNet or noise schedule is none that can be edited.
    """
    unet, settings = modules.unet.config, checkpoint.settings
    size = unet.sample_size
    return ModelInfo(
        name=name,
        digest=checkpoint.digest,
        sites=derive_sites(modules.unet, settings.word_level),
        noise=NoiseSchedule.from_config(checkpoint.configs["scheduler"]),
        latent_channels=unet.in_channels,
        latent_size=(size, size) if isinstance(size, int) else (size[0], size[1]),
        vae_factor=2 ** (len(modules.vae.config.block_out_channels) - 1),
        context_length=modules.text_encoder.config.max_position_embeddings,
        context_width=unet.cross_attention_dim,
        guidance_scale=settings.guidance_scale,
        num_inference_steps=settings.num_inference_steps,
    )


def _load(checkpoint: Checkpoint, part: str, kind: Any, **options: Any) -> Any:
    folder = checkpoint.folder / part
    module, report = guarded(
        part,
        lambda: kind.from_pretrained(
            folder,
            variant=checkpoint.variants[part],
            local_files_only=True,
            output_loading_info=True,
            **options,
        ),
    )
    check_report(part, report)
    return module
