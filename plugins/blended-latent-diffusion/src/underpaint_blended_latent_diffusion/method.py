"""What users say of an edit; `blending` does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from PIL import Image
from pydantic import Field, field_validator, model_validator
from torch import Tensor
from underpaint.method import Method

from underpaint_blended_latent_diffusion.background import NoiseMode
from underpaint_blended_latent_diffusion.blending import BlendedLatentDiffusionRun
from underpaint_blended_latent_diffusion.mask import Box, Convention
from underpaint_blended_latent_diffusion.reconstruction import Preserve


class BlendedLatentDiffusion(Method):
    """Paint the prompt into a picture, inside of a mask (arXiv 2206.02779)."""

    method: ClassVar[str] = "blended-latent-diffusion"

    mask: Path | Image.Image | Tensor | np.ndarray[Any, Any] | None = Field(
        default=None,
        description="A picture that says where to edit, of the size of the picture; white is "
        "edited. Left out, and without a box: the picture is edited where it is see-through.",
    )
    box: Box | None = Field(
        default=None,
        description="Where to edit, in place of a mask: left, top, right and bottom as fractions "
        "of the picture.",
        examples=[(0.0, 0.0, 0.5, 0.5)],
    )
    convention: Convention | None = Field(
        default=None,
        description="What of the mask is edited: 'white' what is bright (as in diffusers), 'black' "
        "what is dark, 'transparent' what is see-through. Left out: white, and a mask whose "
        "transparency says otherwise is refused.",
    )
    soft: bool = Field(default=False, description="Keep the mask's grey values as weights.")
    noise_mode: NoiseMode = Field(
        default="fresh",
        description="How the picture is noised: with fresh noise at every step (the paper), with "
        "one fixed noise, or along the path on which it was inverted.",
    )
    strength: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Part of the noise range that is denoised; below 1 it starts from the noised "
        "picture later, and what is there shows through.",
    )
    shrink: int = Field(
        default=0,
        ge=0,
        le=10,
        description="Progressive mask shrinking, for thin masks: number of dilated masks before "
        "the mask itself; 3 in the paper.",
    )
    preserve: Preserve = Field(
        default="exact",
        description="How the decoded background is put right: 'exact' takes the picture's own "
        "pixels wherever the mask touches no cell of the latent; 'paste' wherever the mask is not; "
        "'poisson' blends gradients; 'latents' and 'decoder' optimise the latent, or the "
        "decoder's weights as the paper does; 'none'.",
    )
    reconstruction_steps: int = Field(
        default=75, ge=1, le=10000, description="Of the optimisation, for 'latents' and 'decoder'."
    )
    background_weight: float = Field(
        default=100.0, ge=0, description="Of the background in the optimisation (lambda)."
    )
    rank: bool | None = Field(
        default=None,
        description="Put the images of a prompt in order, best first, by CLIP; left out: if the "
        "model has one.",
    )

    @field_validator("mask")
    @classmethod
    def _absolute(cls, mask: Any) -> Any:
        """Make a file's path one that a recipe can be repeated with from another folder."""
        return mask.expanduser().absolute() if isinstance(mask, Path) else mask

    @field_validator("box")
    @classmethod
    def _upright(cls, box: Box | None) -> Box | None:
        if box is not None:
            left, top, right, bottom = box
            if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
                raise ValueError(
                    "give left, top, right and bottom as fractions of the picture, with left < "
                    "right and top < bottom, e.g. (0.25, 0.25, 0.75, 0.75)"
                )
        return box

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.mask is not None and self.box is not None:
            raise ValueError("mask and box both say where to edit: give one of them")
        if self.convention is not None and self.mask is None:
            raise ValueError("convention says how mask is read: give mask, or leave it out")
        return self

    def start(self) -> BlendedLatentDiffusionRun:
        """Return the plugin of one run."""
        return BlendedLatentDiffusionRun(self)
