"""DiffuseIT (arXiv 2209.15264, algorithm 1) on a latent diffusion model, hook by hook.

A picture is put under noise, and denoised with the prompt; at every step epsilon moves by
``scale sqrt(1 - a_t) grad`` of the losses. The first step is taken several times, from fresh noise.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import dropwhile
from typing import TYPE_CHECKING

from torch import Tensor
from underpaint.errors import InvalidRequestError
from underpaint.guidance import Guidance, Observation
from underpaint.layout import HALVES
from underpaint.method import hookimpl
from underpaint.preparation import prepare_images
from underpaint.records import MAIN, Move, Needs, Window
from underpaint.request import Request
from underpaint.run import Run
from underpaint.schedule import add_noise
from underpaint.step import Step

from underpaint_diffuse_it.colours import match_colours
from underpaint_diffuse_it.energy import Energy, Models, Targets

if TYPE_CHECKING:
    from underpaint_diffuse_it.method import DiffuseIt


class DiffuseItRun:
    """One run: its models, and what it goes down."""

    energy: Energy

    def __init__(self, edit: DiffuseIt) -> None:
        self.edit = edit

    @hookimpl
    def needs(self, request: Request) -> Needs:
        """Look at the picture; refuse a style picture that cannot be read before anything runs."""
        picture_of(request)
        self._look(request)
        needs = Needs(image=True, inversion=self.edit.noise == "inverted")
        if self.edit.scale and self.edit.gradient == "full":
            needs |= Needs(gradient=frozenset({"sample"}))
        return needs

    @hookimpl(wrapper=True)
    def schedule(self, run: Run) -> Generator[None, tuple[Move, ...], tuple[Move, ...]]:
        """Start part of the way down; repeat the first move, with its noise put back."""
        moves = yield
        noise, window = run.request.model.noise, Window(1 - self.edit.strength, 1.0)
        kept = dropwhile(lambda move: not window.contains(noise.progress(move.timestep)), moves)
        left = tuple(kept)
        if not left:
            raise InvalidRequestError(
                f"strength={self.edit.strength} leaves none of {len(moves)} steps. Raise it, or "
                "the number of steps."
            )
        first, *rest = left
        back = Move(first.next_t, first.t, kind="renoise")
        return (first, *(back, first) * (self.edit.repeats - 1), *rest)

    @hookimpl(wrapper=True)
    def initial_latents(self, run: Run) -> Generator[None, Tensor, Tensor]:
        """Put the picture under noise; where it was inverted, it is there already."""
        latents = yield
        picture = picture_of(run.request).to(latents)
        if self.edit.scale:
            self.energy = self._energy(run, picture)
        if run.request.trajectory is not None:
            return latents
        clean = run.encode_image(picture)  # [1 or I, C, h, w]
        latents, alpha = latents.clone(), run.alpha(run.moves[0].t)
        for branch in run.branches:
            if branch.trajectory is None:
                place = run.layout.trajectories_of(branch.name)
                latents[place] = add_noise(clean, latents[place], alpha)
        return latents

    @hookimpl
    def guidance(self, step: Step) -> Sequence[Guidance]:
        """Go down the losses: through the UNet, or with epsilon as given."""
        if not self.edit.scale:
            return []
        main = step.layout.trajectories_of(MAIN)

        def energy(seen: Observation) -> Tensor:
            return self.energy(step, seen.sample[main], seen.x0[main])

        halves = HALVES if self.edit.gradient == "full" else ()
        return [Guidance(energy, self.edit.scale, halves=halves)]

    @hookimpl(wrapper=True)
    def decode(self, run: Run) -> Generator[None, Tensor, Tensor]:
        """Give the image the style picture's colours, if asked for."""
        images = yield
        look = self._look(run.request)
        if look is None or not self.edit.match_colours:
            return images
        main, images = run.layout.trajectories_of(MAIN), images.clone()
        images[main] = match_colours(images[main], look.to(images))
        return images

    def _energy(self, run: Run, picture: Tensor) -> Energy:
        models = Models(
            run.decoder().requires_grad_(False),
            run.load_scorer(self.edit.vit) if self.edit.vit else run.scorer,
            run.load_scorer(self.edit.clip) if self.edit.clip else run.scorer,
        )
        look = self._look(run.request)
        pictures = picture.expand(run.request.images, *picture.shape[1:])
        on_device = None if look is None else look.to(picture)
        return Energy(
            self.edit, models, Targets.of(run, models, pictures, on_device, self.edit.source)
        )

    def _look(self, request: Request) -> Tensor | None:
        """Return the style picture ``[1, 3, H, W]`` in the model's frame."""
        if self.edit.style_image is None:
            return None
        size = (request.width, request.height)
        return prepare_images([self.edit.style_image], size).pixels


def picture_of(request: Request) -> Tensor:
    """Return the pictures of a call, ``[1 or I, 3, H, W]``.

    Raises
    ------
    InvalidRequestError
        If it has none.
    """
    if request.image is None:
        raise InvalidRequestError(
            "diffuse-it translates a picture: pass image=..., or --image. For a generated one, "
            "give that."
        )
    return request.image.pixels
