"""Re-painting a region by fresh noise (arXiv 2305.03382, sec. 5.1).

What a region of the picture becomes hangs on its part of x_T, nearly independently of the rest. So
fresh noise in a region paints it again, and the rest stays much as it was: with the same prompt
another try, with another prompt an edit. It is a new picture and no patch, so small things change
everywhere; `keep="exact"` puts the old pixels back outside of the region.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, cast

import torch
from PIL import Image
from pydantic import Field
from torch import Tensor
from underpaint.errors import InvalidRequestError
from underpaint.method import Method, hookimpl
from underpaint.ranking import best_first, groups
from underpaint.records import MAIN, Branch, Needs
from underpaint.request import Request
from underpaint.result import REGION, Result
from underpaint.run import Run, seed_noise

from underpaint_initial_image_editing.blocks import starting_alike
from underpaint_initial_image_editing.boxes import Box
from underpaint_initial_image_editing.ranking import score
from underpaint_initial_image_editing.region import Region

BASE = "base"
SCORE = "repaint.score"


class Repaint(Method):
    """Paint a region of a picture again, by fresh noise there (arXiv 2305.03382)."""

    method: ClassVar[str] = "repaint"

    mask: Box | Path | Image.Image = Field(
        description="What to paint again: (left, top, right, bottom) as fractions of the picture, "
        "or a picture of its size, white there. Its noise grows to whole blocks.",
        examples=[(0.0, 0.0, 0.5, 0.5)],
    )
    base_seed: int | None = Field(
        default=None,
        ge=0,
        description="Seed of the picture to paint on; left out, each image's own noise, latents "
        "or inversion. The region's fresh noise always comes from the image's own seed.",
    )
    attempt: int = Field(
        default=0, ge=0, description="Another number is another try with the same seed."
    )
    keep: Literal["free", "exact"] = Field(
        default="free",
        description="free: the rest may change a little; exact: its pixels are those of the "
        "picture without fresh noise: of the call's image, or else one made beside it.",
    )
    rank: bool = Field(
        default=True,
        description="Order the images of a prompt by how well the region fits the words (CLIP).",
    )
    wanted: str = Field(
        default="", description="What the region should show, to rank by; left out, the prompt."
    )

    def start(self) -> RepaintRun:
        """Return the plugin of one run."""
        return RepaintRun(self)


class RepaintRun:
    """One run, and the region once it begins."""

    region: Region

    def __init__(self, edit: Repaint) -> None:
        self.edit = edit

    @hookimpl
    def needs(self, request: Request) -> Needs:
        """Start from a picture's noise; refuse what cannot be painted before anything runs."""
        Region.of(self.edit.mask, request)
        given = (request.latents, request.image, request.trajectory)
        if self.edit.base_seed is not None and any(value is not None for value in given):
            raise InvalidRequestError(
                "Repaint(base_seed=...) draws the picture's noise, and the call brings latents, an "
                "image or a trajectory: give one of them."
            )
        return Needs(inversion=True)

    @hookimpl
    def branches(self) -> Sequence[Branch]:
        """Paint the picture without fresh noise too, where its pixels are to be kept."""
        return [Branch(BASE, None, real=True)] if self.edit.keep == "exact" else []

    @hookimpl(wrapper=True)
    def initial_latents(self, run: Run) -> Generator[None, Tensor, Tensor]:
        """Mix x_T: ``(1 - M) z_T + M e`` with fresh noise e."""
        latents = yield
        self.region = Region.of(self.edit.mask, run.request)
        start = latents[run.layout.trajectories_of(MAIN)]
        if self.edit.base_seed is not None:
            start = seed_noise(self.edit.base_seed, run.request.latent_shape).to(start)[None]
        fresh = run.randn("repaint", self.edit.attempt)
        painted = torch.where(self.region.cells.to(fresh.device), fresh, start)
        mixed = latents.clone()
        for branch in starting_alike(run, latents):
            mixed[run.layout.trajectories_of(branch)] = painted
        if self.edit.keep == "exact" and run.request.trajectory is None:
            mixed[run.layout.trajectories_of(BASE)] = start.expand_as(painted)
        return mixed

    @hookimpl(wrapper=True)
    def decode(self, run: Run) -> Generator[None, Tensor, Tensor]:
        """Put the old pixels back outside of the region; score the region."""
        images = yield
        main = run.layout.trajectories_of(MAIN)
        run.report(REGION, [self.region.pixels[None].float()] * run.request.images)
        if self.edit.keep == "exact":
            base = run.layout.trajectories_of(BASE)
            images = images.clone()
            if run.request.image is not None:
                images[base] = run.request.image.pixels.to(images)
            inside = self.region.pixels.to(images.device)
            images[main] = torch.where(inside, images[main], images[base])
        if self.edit.rank:
            texts = [self.edit.wanted or prompt for prompt in run.prompts(MAIN)]
            scores = score(run, self.region.crop(images[main]), texts)
            if scores is not None:
                run.report(SCORE, scores)
        return images

    @hookimpl(wrapper=True)
    def result(self, request: Request) -> Generator[None, Result, Result]:
        """Rank the tries at each prompt and picture."""
        result = yield
        if not self.edit.rank or len(groups(request)) == request.images:
            return result
        if SCORE not in result.reports:
            reason = (
                "The tries stand in the order of their seeds: to rank them takes decoded pictures "
                "and a scorer, Pipeline(engine, scorer=...). Repaint(rank=False) wants none."
            )
            return replace(result, warnings=(*result.warnings, reason))
        scores = cast("list[float]", result.reports[SCORE])
        return result.reordered(best_first(request, scores))
