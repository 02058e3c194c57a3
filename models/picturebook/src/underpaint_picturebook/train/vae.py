"""Train the autoencoder: 256 px to 4x32x32 latents of zero mean and unit variance per channel.

`AutoencoderTiny` has no normalisation layers, so small crops see the same statistics as whole
pictures and are enough to train on.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from torch import Tensor, nn

from underpaint_picturebook.backgrounds import SIDE
from underpaint_picturebook.train import precision
from underpaint_picturebook.train.data import FIRST_TEST_SEED, Renders
from underpaint_picturebook.world import scene

CROP = 96
NOISE = 0.025
"""Standard deviation of the noise on the latents, so that the decoder forgives small errors."""


def build(channels: int = 48) -> AutoencoderTiny:
    """Return an untrained autoencoder of factor 8 with 4 latent channels."""
    return AutoencoderTiny(
        encoder_block_out_channels=(channels,) * 4,
        decoder_block_out_channels=(channels,) * 4,
        num_encoder_blocks=(1, 2, 2, 2),
        num_decoder_blocks=(2, 2, 2, 1),
        latent_channels=4,
    )


def to_signal(pixels: np.ndarray) -> Tensor:
    """Turn uint8 [N, H, W, 3] into float [N, 3, H, W] from -1 to 1."""
    flat = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float()
    return flat.div(127.5).sub(1).contiguous(memory_format=torch.channels_last)


def to_pixels(signal: Tensor) -> np.ndarray:
    """Turn float [N, 3, H, W] from -1 to 1 into uint8 [N, H, W, 3]."""
    bytes_ = ((signal.float().clamp(-1, 1) + 1) * 127.5).round().byte()
    return bytes_.permute(0, 2, 3, 1).cpu().numpy()


def _slopes(error: Tensor) -> Tensor:
    down = error[..., 1:, :] - error[..., :-1, :]
    right = error[..., 1:] - error[..., :-1]
    return down.abs().mean() + right.abs().mean()


class VaeTrainer:
    """L1 + 0.5 L2 + 0.7 gradient-L1, and each latent channel drawn to mean 0 and variance 1."""

    def __init__(
        self,
        data: Renders,
        device: str,
        batch: int = 16,
        channels: int = 48,
        *,
        freeze_encoder: bool = False,
    ) -> None:
        self.vae = build(channels).to(device, memory_format=torch.channels_last)
        self.modules: nn.Module = nn.ModuleDict({"vae": self.vae})
        self._data, self._device, self._batch = data, device, batch
        self._freeze = freeze_encoder

    def losses(self, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Reconstruct a batch of crops; offsets are multiples of 8, as whole pictures are."""
        picks = torch.randint(len(self._data.images), (self._batch,), generator=generator)
        corners = 8 * torch.randint((SIDE - CROP) // 8 + 1, (self._batch, 2), generator=generator)
        crops = [
            self._data.images[k, y : y + CROP, x : x + CROP]
            for k, (y, x) in zip(picks.tolist(), corners.tolist(), strict=True)
        ]
        real = to_signal(np.stack(crops)).to(self._device)
        with precision.autocast(self._device):
            with torch.set_grad_enabled(not self._freeze):
                latents = self.vae.encode(real).latents
            noise = torch.randn(latents.shape, generator=generator).to(self._device)
            made = self.vae.decode(latents + NOISE * noise).sample
        error = made.float() - real
        flat = latents.float().transpose(0, 1).flatten(1)
        shape = flat.mean(1).square().mean() + (flat.std(1) - 1).square().mean()
        pixel = error.abs().mean() + 0.5 * error.square().mean() + 0.7 * _slopes(error)
        return {
            "loss": pixel if self._freeze else pixel + 0.02 * shape,
            "l1": error.abs().mean(),
            "shape": shape,
        }

    def sheet(self, average: nn.Module, file: Path) -> None:
        """Save eight unseen pictures above their reconstructions."""
        pixels = np.stack([scene(FIRST_TEST_SEED + k).image for k in range(8)])
        made = reconstruct(average.vae, pixels, self._device)
        rows = [np.concatenate(list(half), axis=1) for half in (pixels, made)]
        Image.fromarray(np.concatenate(rows)).save(file)


@torch.no_grad()
def reconstruct(vae: AutoencoderTiny, pixels: np.ndarray, device: str = "cpu") -> np.ndarray:
    """Encode and decode uint8 [N, 256, 256, 3]."""
    with precision.autocast(device):
        made = vae.decode(vae.encode(to_signal(pixels).to(device)).latents).sample
    return to_pixels(made)


def psnr(made: np.ndarray, real: np.ndarray) -> float:
    """Return the mean over pictures of the peak signal-to-noise ratio, in dB."""
    error = np.square(made.astype(np.float64) - real).mean(axis=(1, 2, 3))
    return float((10 * np.log10(255.0**2 / error)).mean())
