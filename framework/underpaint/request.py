"""What one call asks for, checked and expanded to one entry per image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain

from torch import Tensor

from underpaint.engine import ModelInfo
from underpaint.method import Method
from underpaint.preparation import PreparedImages
from underpaint.schedule import Spacing
from underpaint.trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class Request:
    """One call of the pipeline, or the part of it that one run serves.

    Attributes
    ----------
    model : what the loaded model declares about itself.
    prompts, negative_prompts, seeds : one per image.
    edits : the methods, in the order the values flow through them.
    height, width : of the images, in pixels.
    num_inference_steps, guidance_scale, eta, timestep_spacing : as in diffusers.
    latents : x_T ``[I, C, h, w]``, or None to draw it from the seeds.
    attention_per_step : keep recorded attention maps for every step instead of their mean.
    image : the pictures to edit, in the model's frame, or None.
    trajectory : the path that they were inverted along, or None; every branch starts on it.
    follow : whether the branches that are ``real`` are held to that path.
    refinements : fixed-point iterations of each move of the inversion.
    """

    model: ModelInfo
    prompts: tuple[str, ...]
    negative_prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    edits: tuple[Method, ...]
    height: int
    width: int
    num_inference_steps: int
    guidance_scale: float
    eta: float = 0.0
    timestep_spacing: Spacing | None = None
    latents: Tensor | None = None
    attention_per_step: bool = False
    image: PreparedImages | None = None
    trajectory: Trajectory | None = None
    follow: bool = True
    refinements: int = 0

    @property
    def images(self) -> int:
        """Number of images I."""
        return len(self.prompts)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Shape (C, h, w) of one latent."""
        factor = self.model.vae_factor
        return self.model.latent_channels, self.height // factor, self.width // factor

    def part(self, start: int, stop: int) -> Request:
        """Return the request for the images ``start ... stop-1``."""
        return replace(
            self,
            prompts=self.prompts[start:stop],
            negative_prompts=self.negative_prompts[start:stop],
            seeds=self.seeds[start:stop],
            latents=None if self.latents is None else self.latents[start:stop],
            image=self.image and self.image.part(start, stop),
            trajectory=self.trajectory and self.trajectory.part(start, stop),
        )

    def inversion(self, prompts: tuple[str, ...]) -> Request:
        """Return the request that inverts the pictures, which show `prompts`, without guidance.

        Its edits are those that the call's edits want there, each once. One picture with one
        prompt is inverted once, however many images are made of it.
        """
        alone = self.image is not None and len(self.image.pixels) == 1
        each = prompts[:1] if alone and len(set(prompts)) == 1 else prompts
        taking_part: list[Method] = []
        for method in chain.from_iterable(edit.inverting() for edit in self.edits):
            taking_part += [] if method in taking_part else [method]
        return replace(
            self,
            prompts=each,
            negative_prompts=("",) * len(each),
            seeds=(0,) * len(each),
            edits=tuple(taking_part),
            guidance_scale=1.0,
            eta=0.0,
            latents=None,
            attention_per_step=False,
        )
