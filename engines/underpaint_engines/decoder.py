"""A VAE's decoder with weights of its own, to be fitted to a picture."""

from __future__ import annotations

from copy import deepcopy

from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor, nn


class DecoderCopy(nn.Module):
    """A copy of a decoder: scaled latents to images around [0, 1].

    The decoder's weights require a gradient. What stands before it (AutoencoderKL's
    `post_quant_conv`) is frozen, as in Blended Latent Diffusion (arXiv 2206.02779).
    """

    def __init__(self, vae: AutoencoderKL | AutoencoderTiny) -> None:
        super().__init__()
        # The encoder is as large and takes no part: the copy shares it.
        self.vae = deepcopy(vae, {id(vae.encoder): vae.encoder})
        self.vae.decoder.requires_grad_(True)

    def forward(self, latents: Tensor) -> Tensor:
        """Return images ``[B, 3, H, W]``."""
        images: Tensor = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return images / 2 + 0.5
