"""What a step goes down: the sum of the losses of the picture that the latents promise.

On a latent diffusion model the picture is decoded from ``f x0 + (1 - f) x_t``, ``f = sqrt(1 - a)``:
the noise that the paper mixes into the estimate, mixed in latent space. All losses see that, the
range too: the paper's is of x0 alone, but to decode both would nearly double the cost of a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from underpaint.run import Run, Scorer
from underpaint.step import Step

from underpaint_diffuse_it import losses
from underpaint_diffuse_it.views import apply_views, draw_views

if TYPE_CHECKING:
    from underpaint_diffuse_it.method import DiffuseIt


@dataclass(frozen=True, eq=False)
class Models:
    """The decoder, on latents that may want a gradient, and what looks at its images."""

    decoder: nn.Module
    vit: Scorer
    clip: Scorer


@dataclass(frozen=True, eq=False)
class Targets:
    """What is known of the pictures and texts before the first step.

    Attributes
    ----------
    keys : ``[I, N, D]``, the picture's.
    text : ``[I, D']``, where the text leads; None in image mode.
    style, look : [CLS] ``[1, D]`` and the pixels ``[1, 3, H, W]`` of the style picture, or None.
    """

    keys: Tensor
    text: Tensor | None = None
    style: Tensor | None = None
    look: Tensor | None = None

    @classmethod
    @torch.no_grad()
    def of(
        cls, run: Run, models: Models, picture: Tensor, look: Tensor | None, source: str
    ) -> Targets:
        """Compute them once for a run from the pictures ``[I, 3, H, W]``."""
        keys, _ = models.vit.vit_features(picture)
        if look is not None:
            return cls(keys, style=models.vit.vit_features(look)[1], look=look)
        clip = models.clip
        target = clip.text_features(run.request.prompts)
        shown = clip.text_features([source]) if source else None
        return cls(keys, losses.text_direction(target, shown, clip.image_features(picture)))


class Energy:
    """The losses of one run, weighted; it remembers the [CLS] that it saw last."""

    def __init__(self, edit: DiffuseIt, models: Models, targets: Targets) -> None:
        self.edit, self.models, self.targets = edit, models, targets
        self.previous: Tensor | None = None

    def __call__(self, step: Step, sample: Tensor, x0: Tensor) -> Tensor:
        """Return one scalar per image, from x_t and x0 ``[I, C, h, w]``."""
        images = self.models.decoder(limited(mix(sample, x0, step.alpha), self.edit.limit))
        total = self._of_the_vit(step, images)
        if self.targets.text is not None and self.edit.text:
            total = total + self.edit.text * self._of_the_text(step, images, self.targets.text)
        if self.targets.look is not None and self.edit.pixels:
            total = total + self.edit.pixels * losses.apart(images, self.targets.look)
        if self.edit.bounds:
            total = total + self.edit.bounds * losses.out_of_range(images)
        return total

    def _of_the_vit(self, step: Step, images: Tensor) -> Tensor:
        edit, targets = self.edit, self.targets
        keys, cls = self.models.vit.vit_features(images)
        total = edit.structure * losses.structure(keys, targets.keys)
        total = total + edit.contrast * losses.contrast(keys, targets.keys, edit.temperature)
        if targets.style is not None:
            total = total + edit.style * losses.apart(cls, targets.style)
        if self.previous is not None and _share(step) < edit.diverge_until:
            total = total - edit.divergence * losses.apart(cls, self.previous)
        self.previous = cls.detach()
        return total

    def _of_the_text(self, step: Step, images: Tensor, direction: Tensor) -> Tensor:
        if self.edit.views:
            images = apply_views(images, draw_views(step.run, self.edit.views, step.index))
        features = self.models.clip.image_features(images)
        return losses.towards(features.reshape(-1, *direction.shape), direction)


def mix(sample: Tensor, x0: Tensor, alpha: float) -> Tensor:
    """Return ``f x0 + (1 - f) x_t`` with ``f = sqrt(1 - a_t)``."""
    share = math.sqrt(1 - alpha)
    return share * x0 + (1 - share) * sample


def limited(latents: Tensor, most: float) -> Tensor:
    """Return latents whose gradient, of each image, has at most the root mean square `most`.

    The paper's weights are tuned for one model's scale of gradients. A bound, unlike a gradient
    scaled to unit length, leaves small ones as they are: the effect grows from nothing.
    """

    def shrink(gradient: Tensor) -> Tensor:
        size = gradient.square().mean((1, 2, 3), keepdim=True).sqrt()
        return gradient * (most / size.clamp(min=most))

    latents.register_hook(shrink)  # type: ignore[no-untyped-call]
    return latents


def _share(step: Step) -> float:
    """Return the part of the run's noise range that lies behind a step."""
    noise = step.run.request.model.noise
    start = noise.progress(step.run.moves[0].timestep)
    return (step.progress - start) / (1 - start)
