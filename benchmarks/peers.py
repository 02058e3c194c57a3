"""What a user would otherwise run: diffusers as it is, and P2P by materialised maps."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from torch import Tensor
from underpaint.engine import UNetCall

from benchmarks.steps import LARGEST_SELF_MAP, SOURCE, TARGET


class Materialised:
    """Writes out every attention map, and puts the source's in the target's place.

    That is how diffusers' community pipeline edits and how the published code does. Both also keep
    the maps of every step, which this does not: it is the cheapest form of the approach.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Attend; replaced are cross maps, and self maps of 32x32 and below."""
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query = attn.head_to_batch_dim(attn.to_q(hidden_states))
        key = attn.head_to_batch_dim(attn.to_k(context))
        value = attn.head_to_batch_dim(attn.to_v(context))
        maps = attn.get_attention_scores(query, key, attention_mask)  # [R * H, N, L]
        if encoder_hidden_states is not None or hidden_states.shape[1] <= LARGEST_SELF_MAP:
            heads = attn.heads
            maps[TARGET * heads :] = maps[SOURCE * heads : TARGET * heads]
        mixed = attn.batch_to_head_dim(torch.bmm(maps, value))
        out: Tensor = attn.to_out[1](attn.to_out[0](mixed))
        return out


class Diffusers:
    """A diffusers pipeline with the DDIM scheduler.

    Parameters
    ----------
    folder : the checkpoint.
    dtype : of the UNet, the VAE and the text encoder.
    compiled : whether torch.compile compiles the UNet.
    materialised : whether every step is one of Prompt-to-Prompt by materialised maps.
    """

    def __init__(
        self,
        folder: str,
        dtype: torch.dtype,
        *,
        compiled: bool = False,
        materialised: bool = False,
    ) -> None:
        pipe = StableDiffusionPipeline.from_pretrained(
            folder, dtype=dtype, safety_checker=None, requires_safety_checker=False
        )
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
        pipe.set_progress_bar_config(disable=True)
        if materialised:
            pipe.unet.set_attn_processor(Materialised())
        if compiled:
            pipe.unet = torch.compile(pipe.unet)
        self._pipe = pipe
        self._dtype = dtype

    @torch.no_grad()
    def step(self, call: UNetCall) -> Tensor:
        """Run the UNet once; return its noise in fp32."""
        sample, context = call.sample.to(self._dtype), call.context.to(self._dtype)
        noise: Tensor = self._pipe.unet(sample, call.timestep, context, return_dict=False)[0]
        return noise.float()

    def image(self, prompt: str, steps: int) -> object:
        """Generate one image with guidance."""
        generator = torch.Generator().manual_seed(7)
        return self._pipe(prompt, num_inference_steps=steps, generator=generator).images[0]
