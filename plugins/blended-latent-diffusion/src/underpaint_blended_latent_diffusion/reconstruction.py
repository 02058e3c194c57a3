"""What the decoder changes outside of the mask is put right (paper: background reconstruction).

A VAE does not give back what it was given, so blended latents alone leave the background changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from underpaint.run import Run

from underpaint_blended_latent_diffusion.poisson import poisson_blend

Preserve = Literal["exact", "none", "paste", "poisson", "latents", "decoder"]

DECODER_RATE = 1e-4
LATENTS_RATE = 0.1


@dataclass(frozen=True, eq=False)
class Decoded:
    """Edited images, and what they were made of.

    Attributes
    ----------
    images : ``[I, 3, H, W]`` in [0, 1], decoded from `latents` ``[I, C, h, w]``.
    picture : ``[I, 3, H, W]``, what was edited.
    mask : ``[I, 1, H, W]``, 1 where it was edited.
    reach : ``[I, 1, H, W]``, 1 where the edit may show: in every cell that the mask touches.
    """

    images: Tensor
    latents: Tensor
    picture: Tensor
    mask: Tensor
    reach: Tensor

    def each(self) -> Iterator[Decoded]:
        """Return the images one by one, in tensors that autograd takes."""
        parts = (self.images, self.latents, self.picture, self.mask, self.reach)
        for image in range(len(self.images)):
            yield Decoded(*(part[image : image + 1].clone() for part in parts))


@dataclass(frozen=True)
class Reconstruction:
    """In which way the background is put right, and the settings of the optimisation."""

    preserve: Preserve
    steps: int
    weight: float

    def __call__(self, run: Run, made: Decoded) -> Tensor:
        """Return the images with the picture's background, ``[I, 3, H, W]`` in [0, 1]."""
        if self.preserve == "none":
            return made.images
        if self.preserve == "paste":
            return made.mask * made.images + (1 - made.mask) * made.picture
        if self.preserve == "exact":
            return torch.where(made.reach > 0, made.images, made.picture)
        if self.preserve == "poisson":
            return poisson_blend(made.images, made.picture, made.mask)
        # In an ordinary mode even where the caller is in inference mode.
        with torch.inference_mode(False), torch.enable_grad():
            fitted = [self.fit(run.decoder(), one) for one in made.each()]
        return torch.cat(fitted).clamp(0, 1)

    def fit(self, decoder: nn.Module, one: Decoded) -> Tensor:
        """Optimise the decoder's weights, or the latent, for one image; return what it decodes to.

        ``|m (D(z) - image)|^2 + weight |(1 - m) (D(z) - picture)|^2``, as means over all values,
        with Adam. `decoder` is a copy, which this changes.
        """
        latent, inside, outside = one.latents, one.mask, 1 - one.mask
        if self.preserve == "latents":
            decoder.requires_grad_(False)
            variables, rate = [latent.requires_grad_()], LATENTS_RATE
        else:
            own = decoder.parameters()
            variables, rate = [each for each in own if each.requires_grad], DECODER_RATE
        optimiser = torch.optim.Adam(variables, lr=rate)
        for _ in range(self.steps):
            decoded = decoder(latent)
            edited = mse_loss(inside * decoded, inside * one.images)
            kept = mse_loss(outside * decoded, outside * one.picture)
            optimiser.zero_grad()
            (edited + self.weight * kept).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        result: Tensor = decoder(latent)
        return result.detach()
