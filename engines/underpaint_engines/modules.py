"""The modules of a checkpoint, built by diffusers and transformers with nothing left to chance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer
from underpaint.engine import ModelInfo
from underpaint.errors import ModelLoadError
from underpaint.schedule import NoiseSchedule

from underpaint_engines.checkpoint import Checkpoint
from underpaint_engines.sites import derive_sites
from underpaint_engines.tokenizer import SpecialTokens


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
    with _no_progress_bar():
        text_encoder = _load(
            checkpoint, "text_encoder", CLIPTextModel, dtype=torch.float32, use_safetensors=True
        )
    return Modules(
        unet=_freeze(unet, device),
        vae=_freeze(vae, device),
        text_encoder=_freeze(text_encoder, device),
        tokenizer=_load_tokenizer(checkpoint),
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


def special_tokens(tokenizer: CLIPTokenizer) -> SpecialTokens:
    """Return a tokenizer's special tokens."""
    return SpecialTokens(tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)


def _load(checkpoint: Checkpoint, part: str, kind: Any, **options: Any) -> Any:
    folder = checkpoint.folder / part
    module, report = _guarded(
        part,
        lambda: kind.from_pretrained(
            folder,
            variant=checkpoint.variants[part],
            local_files_only=True,
            output_loading_info=True,
            **options,
        ),
    )
    _check_report(part, report)
    return module


def _load_tokenizer(checkpoint: Checkpoint) -> CLIPTokenizer:
    folder = checkpoint.folder / "tokenizer"
    return _guarded(
        "tokenizer", lambda: CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    )


def _guarded(part: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except Exception as error:  # for a broken file, tokenizers raises Exception itself
        raise ModelLoadError(f"The {part} cannot be loaded: {error}") from error


def _check_report(part: str, report: Mapping[str, Any]) -> None:
    """Refuse what both libraries only warn of: weights left at random."""
    for problem in ("missing_keys", "mismatched_keys", "error_msgs"):
        names = sorted(map(str, report.get(problem, ())))
        if names:
            raise ModelLoadError(
                f"The weights of the {part} do not fit its config.json: {len(names)} "
                f"{problem.replace('_', ' ')}, e.g. {names[0]}. Download the checkpoint again."
            )


def _freeze(module: nn.Module, device: torch.device) -> Any:
    return module.to(device).eval().requires_grad_(False)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Silence the progress bar that transformers shows even for a file that loads in 10 ms."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
