"""The parameters of DiffuseIT (arXiv 2209.15264)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field
from underpaint.method import Method

from underpaint_diffuse_it.process import DiffuseItRun


class DiffuseIt(Method):
    """Translate a picture by its prompt, or to the look of another one (arXiv 2209.15264)."""

    method: ClassVar[str] = "diffuse-it"

    source: str = Field(
        default="", description="What the picture shows: the text leads away from it."
    )
    style_image: Path | None = Field(
        default=None,
        description="Another picture, whose look this one takes on, in place of the text's term.",
    )
    strength: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="Part of the noise range that it is put under.",
    )
    noise: Literal["fresh", "inverted"] = Field(
        default="fresh",
        description="What the picture is put under: the seed's noise, or what it inverts to.",
    )
    repeats: int = Field(
        default=1, ge=1, le=50, description="How often the first, noisiest step is taken."
    )
    gradient: Literal["full", "cheap"] = Field(
        default="full",
        description="full: through the UNet; cheap: the noise prediction counts as given, so the "
        "UNet stays on a compiled engine.",
    )
    scale: float = Field(default=100.0, ge=0, description="Of all losses together.")
    limit: float = Field(
        default=0.5,
        gt=0,
        description="Greatest root mean square of the scaled gradient of a predicted latent.",
    )
    structure: float = Field(
        default=1.0, ge=0, description="Weight of the self-similarity of the ViT's keys."
    )
    contrast: float = Field(
        default=0.2,
        ge=0,
        description="Weight of each key's likeness to the picture's own there.",
    )
    temperature: float = Field(default=0.07, gt=0, description="Of the contrast.")
    divergence: float = Field(
        default=0.1, ge=0, description="Weight of the change of [CLS] from step to step."
    )
    diverge_until: float = Field(
        default=0.15, ge=0, le=1, description="Part of the steps' noise range that diverges."
    )
    text: float = Field(default=2.0, ge=0, description="Weight of CLIP's likeness to the text.")
    views: int = Field(
        default=0, ge=0, le=64, description="Augmented views for CLIP; 0 shows it the image itself."
    )
    style: float = Field(
        default=0.3, ge=0, description="Weight of the likeness of [CLS] to the style picture's."
    )
    pixels: float = Field(
        default=0.0, ge=0, description="Weight of the likeness of pixels to the style picture's."
    )
    match_colours: bool = Field(
        default=True, description="At the end, give the image the style picture's colours."
    )
    bounds: float = Field(default=0.2, ge=0, description="Weight of values out of range.")
    vit: Path | None = Field(
        default=None, description="Folder of a transformers ViT (DINO) or CLIP, for [CLS] and keys."
    )
    clip: Path | None = Field(
        default=None, description="Folder of a transformers CLIP, for texts and images."
    )

    def start(self) -> DiffuseItRun:
        """Return the plugin of one run."""
        return DiffuseItRun(self)
