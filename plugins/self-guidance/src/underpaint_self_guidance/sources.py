"""The pictures that a call's objects are compared with, each on a branch of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from underpaint.preparation import prepare_images
from underpaint.records import Branch
from underpaint.run import Run, seed_noise
from underpaint.schedule import add_noise

from underpaint_self_guidance.changes import Borrow

ORIGINAL = "original"
"""The branch that shows what is edited."""


@dataclass(frozen=True)
class Source:
    """A picture beside the one that is made.

    Attributes
    ----------
    name : of its branch.
    prompt : what it shows; None takes each image's own prompt.
    image : its file; None generates it.
    seed : of its noise; None takes the call's.
    """

    name: str
    prompt: str | None
    image: Path | None = None
    seed: int | None = None

    def branch(self) -> Branch:
        """Return its branch; one that shows a file is noised forward and needs no guidance."""
        return Branch(self.name, self.prompt, guidance_scale=1.0 if self.image else None)

    def noise(self, run: Run) -> Tensor:
        """Return x_T of a generated one, the one noise of a file: ``[I, C, h, w]``."""
        shape = run.request.latent_shape
        seeds = run.request.seeds if self.seed is None else [self.seed] * run.request.images
        return torch.stack([seed_noise(seed, shape) for seed in seeds]).to(run.engine.device)


def borrowed(borrows: Sequence[Borrow]) -> dict[Borrow, Source]:
    """Return the source of each borrowed property; equal pictures share one.

    One that names another object alone borrows from the original.
    """
    known: dict[tuple[str | None, Path | None, int | None], Source] = {
        (None, None, None): Source(ORIGINAL, None)
    }
    found = {}
    for borrow in borrows:
        key = (borrow.prompt, borrow.image, borrow.seed)
        known.setdefault(key, Source(f"other-{len(known)}", *key))
        found[borrow] = known[key]
    return found


class NoisedPictures:
    """Pictures that are noised forward, ``sqrt(a) z0 + sqrt(1 - a) e``, instead of inverted.

    One noise serves all steps, so that neighbouring steps see the same picture.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[Tensor, Tensor]] = {}

    def add(self, run: Run, source: Source, pixels: Tensor | None = None) -> None:
        """Encode a picture ``[I or 1, 3, H, W]``: the source's file, or the call's own."""
        if pixels is None:
            request = run.request
            size = (request.width, request.height)
            pixels = prepare_images([str(source.image)], size).pixels
        clean = run.encode_image(pixels.to(run.engine.device))
        noise = source.noise(run)
        self._known[source.name] = (clean.expand_as(noise), noise)

    def put(self, run: Run, level: int, latents: Tensor) -> Tensor:
        """Return latents ``[T, C, h, w]`` with the pictures' own at a noise level."""
        latents = latents.clone()
        for name, (clean, noise) in self._known.items():
            noised = clean if level < 0 else add_noise(clean, noise, run.alpha(level))
            latents[run.layout.trajectories_of(name)] = noised.to(latents)
        return latents
