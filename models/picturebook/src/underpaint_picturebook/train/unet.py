"""Train the UNet and the text encoder together, on latents encoded beforehand.

Epsilon prediction, min-SNR weighting with gamma 5 (arXiv 2303.09556), 10 % empty captions for
classifier-free guidance, the token-grounding loss so that words bind to places early, and the
swap loss so that a word's value does not tell of other words.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor, nn

from underpaint_picturebook import parts
from underpaint_picturebook.train import grounding, precision, swaps
from underpaint_picturebook.train.latents import MASK_SIDE, Latents

LATENT = (4, 32, 32)
GAMMA = 5.0
UNCONDITIONAL = 0.1
GROUNDING = 0.02
"""Weight of the grounding loss, next to a denoising loss of about 0.05."""
LEAST_SURE = 0.25
"""Share of the grounding loss at the highest noise level, where places can only be guessed."""
SWAP = 0.1
"""Weight of the swap loss."""
OFFSET = 0.1
"""Deviation of what is added to a whole channel of the noise. Without it the last noise level
still tells how bright the picture is, which sampling cannot know: night came out as day
(arXiv 2305.08891 names the flaw, "offset noise" the remedy)."""

SHEET = (
    "a red cat", "a dog on grass", "a red cat and a blue bus", "a big blue house on grass",
    "a yellow bus to the left of a green car", "a purple fish on the water",
    "a black dog in the snow", "a pink cake", "a white boat on the beach",
    "an orange tree at night", "a red ball above a blue star",
    "a green mushroom below a yellow bird",
    "a pencil sketch of a red cat", "a watercolour of a blue umbrella on the beach",
    "pixel art of a yellow flower on grass", "a red car, a green tree and a blue heart in the snow",
)  # fmt: skip


class UnetTrainer:
    """The denoising, grounding and swap losses over a batch of encoded scenes."""

    def __init__(
        self,
        data: Latents,
        pipe: StableDiffusionPipeline,
        device: str,
        batch: int = 32,
    ) -> None:
        text, unet, tokenizer = pipe.text_encoder, pipe.unet, pipe.tokenizer
        self.modules: nn.Module = nn.ModuleDict({"text": text, "unet": unet}).to(device)
        unet.to(memory_format=torch.channels_last)
        self._unet, self._text = unet, text
        self._data, self._vae, self._tokenizer = data, pipe.vae, tokenizer
        self._device, self._batch = device, batch
        self._recorders = grounding.record(unet)
        self._values = swaps.value_layers(unet)
        self._swap = swaps.Swapper(tokenizer)
        self._alphas = parts.scheduler().alphas_cumprod
        self._empty = torch.tensor(tokenizer("", padding="max_length").input_ids)

    def losses(self, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Denoise a batch; timesteps are stratified, one in each part of the range."""
        picks = torch.randint(len(self._data.latents), (self._batch,), generator=generator)
        offsets = torch.rand(self._batch, generator=generator)
        times = ((torch.arange(self._batch) + offsets) * (1000 / self._batch)).long()
        told = torch.rand(self._batch, generator=generator) >= UNCONDITIONAL
        ids = torch.where(told[:, None], self._data.ids[picks].long(), self._empty)
        tokens = self._data.tokens[picks].long().masked_fill(~told[:, None], -1)
        swapped = self._swap(ids, tokens, self._data.owners[picks], generator)
        noise = self._noise(generator)
        noisy = self._mix(self._data.latents[picks].float(), noise, times)
        with precision.autocast(self._device):
            both = torch.cat([ids, swapped.ids]).to(self._device)
            context, other = self._text(both).last_hidden_state.chunk(2)
            guess = self._unet(noisy, times.to(self._device), context).sample
            places = swapped.places.to(self._device)
            swap = swaps.loss(self._values, self._maps(), context, other, places)
        error = (guess.float() - noise.to(self._device)).square().mean(dim=(1, 2, 3))
        denoising = (error * self._weight(times)).mean()
        sure = ((1000 - times) / 200).clamp(LEAST_SURE, 1.0).to(self._device)
        ground = grounding.loss(self._maps(), self._words(picks, tokens), sure)
        return {
            "loss": denoising + GROUNDING * ground + SWAP * swap,
            "denoising": denoising,
            "grounding": ground,
            "swap": swap,
        }

    def _noise(self, generator: torch.Generator) -> Tensor:
        noise = torch.randn((self._batch, *LATENT), generator=generator)
        return noise + OFFSET * torch.randn((self._batch, LATENT[0], 1, 1), generator=generator)

    def _mix(self, clean: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        alpha = self._alphas[times][:, None, None, None]
        noisy: Tensor = alpha.sqrt() * clean + (1 - alpha).sqrt() * noise
        return noisy.to(self._device).contiguous(memory_format=torch.channels_last)

    def _weight(self, times: Tensor) -> Tensor:
        ratio = self._alphas[times] / (1 - self._alphas[times])
        weight: Tensor = ratio.clamp(max=GAMMA) / ratio
        return weight.to(self._device)

    def _words(self, picks: Tensor, tokens: Tensor) -> grounding.Words:
        owners = self._data.owners[picks].long()[..., None, None]
        masks = self._data.masks[picks].float() / 255
        index = owners.expand(-1, -1, MASK_SIDE, MASK_SIDE)
        return grounding.Words(tokens.to(self._device), masks.gather(1, index).to(self._device))

    def _maps(self) -> list[Tensor]:
        return [recorder.taken() for recorder in self._recorders]

    def sheet(self, average: nn.Module, file: Path) -> None:
        """Draw the captions of `SHEET` with the averaged weights."""
        pipe = parts.pipeline(self._tokenizer, average.text, self._vae, average.unet)
        generator = torch.Generator().manual_seed(5)
        with precision.autocast(self._device):
            made = pipe(
                list(SHEET), num_inference_steps=25, guidance_scale=4.0, generator=generator,
                output_type="np",
            ).images  # fmt: skip
        tiles = (made * 255).round().astype(np.uint8)
        rows = [np.concatenate(list(tiles[k : k + 4]), axis=1) for k in range(0, len(tiles), 4)]
        sheet = Image.fromarray(np.concatenate(rows))
        sheet.resize((768, 768 * len(rows) // 4), Image.Resampling.BOX).save(file)
