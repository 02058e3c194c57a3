"""Negative-prompt inversion (arXiv 2305.16807).

Null-text inversion optimises the unconditional embedding until a guided denoising retraces the
picture's path. Its optimum is close to the embedding of the source prompt itself, so that takes
the unconditional one's place: the source's two predictions are then equal, guidance has nothing to
scale, and the source is denoised as DDIM inverted it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from underpaint.errors import InvalidRequestError
from underpaint.method import Method, hookimpl
from underpaint.records import Conditioning, Needs
from underpaint.run import Run
from underpaint.trajectory import Trajectory

PARALLEL = 0.9995
"""Cosine above which two vectors are interpolated along a line."""


class NegativePromptInversion(Method):
    """Take the source prompt as the negative one, in place of null-text (arXiv 2305.16807)."""

    method: ClassVar[str] = "negative-prompt-inversion"

    interpolation: float = Field(
        1.0,
        ge=0,
        le=1,
        description="From the call's negative prompt (0: nothing changes) to the source prompt.",
    )

    def start(self) -> NegativePromptRun:
        """Return the plugin of one run."""
        return NegativePromptRun(self.method, self.interpolation)


class NegativePromptRun:
    """One run."""

    def __init__(self, method: str, interpolation: float) -> None:
        self.method = method
        self.interpolation = interpolation

    @hookimpl
    def needs(self) -> Needs:
        """Start from the inverted picture."""
        return Needs(inversion=True)

    @hookimpl(wrapper=True)
    def conditioning(self, run: Run) -> Generator[None, Conditioning, Conditioning]:
        """Put the source prompt's embedding in the place of every unconditional one (eq. 8)."""
        conditioning = yield
        prompts = path_of(run, self.method).prompts
        source = run.encode(prompts)  # [I or 1, L, d]
        for branch in run.layout.branches:
            if run.layout.rows_of(branch, "uncond"):
                own = conditioning.embeddings[branch, "uncond"]
                mixed = slerp(own, source.expand_as(own), self.interpolation)
                conditioning = conditioning.replace(branch, "uncond", mixed)
        return conditioning


def path_of(run: Run, method: str) -> Trajectory:
    """Return the path along which the run's pictures were inverted.

    Raises
    ------
    InvalidRequestError
        If the call has no picture.
    """
    path = run.request.trajectory
    if path is None or not path.prompts:
        raise InvalidRequestError(
            f"{method} edits a picture: pass image=..., or trajectory=pipe.invert(image, prompt)."
        )
    return path


def slerp(start: Tensor, end: Tensor, weight: float) -> Tensor:
    """Interpolate along the sphere, each vector of the last axis by itself."""
    if weight in (0.0, 1.0):
        return end if weight else start
    cosine = torch.cosine_similarity(start, end, dim=-1)[..., None]
    angle = torch.acos(cosine.clamp(-PARALLEL, PARALLEL))
    curved = torch.sin((1 - weight) * angle) * start + torch.sin(weight * angle) * end
    return torch.where(
        cosine.abs() > PARALLEL, torch.lerp(start, end, weight), curved / torch.sin(angle)
    )
