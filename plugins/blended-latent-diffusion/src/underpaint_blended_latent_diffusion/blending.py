"""The loop of Blended Latent Diffusion (arXiv 2206.02779, algorithm 1), hook by hook.

After every step from level t to level p the latent is put together again:
``z_p = m z_fg + (1 - m) z_bg``, where ``z_fg`` is what the model made of it and ``z_bg`` the
encoded picture, noised to the same level p; after the last step, the encoded picture itself.
"""

from __future__ import annotations

from collections.abc import Generator
from itertools import dropwhile
from typing import TYPE_CHECKING, cast

from torch import Tensor
from underpaint.errors import InvalidRequestError, NotOfferedError
from underpaint.method import hookimpl
from underpaint.preparation import PreparedImages
from underpaint.ranking import best_first
from underpaint.records import MAIN, Move, Needs, Window
from underpaint.request import Request
from underpaint.result import REGION, Result
from underpaint.run import Run, Scorer
from underpaint.schedule import add_noise
from underpaint.step import Step

from underpaint_blended_latent_diffusion.background import Background
from underpaint_blended_latent_diffusion.fill import fill_see_through
from underpaint_blended_latent_diffusion.grid import Masks
from underpaint_blended_latent_diffusion.mask import read_mask
from underpaint_blended_latent_diffusion.ranking import SCORE, score
from underpaint_blended_latent_diffusion.reconstruction import Decoded, Reconstruction

if TYPE_CHECKING:
    from underpaint_blended_latent_diffusion.method import BlendedLatentDiffusion


class BlendedLatentDiffusionRun:
    """One run: its masks, and the picture's latents."""

    masks: Masks
    background: Background
    scorer: Scorer | None

    def __init__(self, edit: BlendedLatentDiffusion) -> None:
        self.edit = edit

    @hookimpl
    def needs(self, request: Request) -> Needs:
        """Look at the picture; refuse a mask that does not fit before anything runs."""
        self._masks(request)
        return Needs(image=True, inversion=self.edit.noise_mode == "inverted")

    @hookimpl(wrapper=True)
    def schedule(self, run: Run) -> Generator[None, tuple[Move, ...], tuple[Move, ...]]:
        """Leave out the first moves, as the start strength says."""
        moves = yield
        self.masks = self._masks(run.request)
        self.scorer = self._find_scorer(run)
        if self.masks.thin and not self.edit.shrink:
            run.warn(
                "The mask has parts thinner than the latent's cells "
                f"({run.request.model.vae_factor} pixels); every cell that they touch is edited. "
                "shrink=3 helps the model to draw something there."
            )
        noise, window = run.request.model.noise, Window(1 - self.edit.strength, 1.0)
        kept = dropwhile(lambda move: not window.contains(noise.progress(move.timestep)), moves)
        left = tuple(kept)
        if not left:
            raise InvalidRequestError(
                f"strength={self.edit.strength} leaves none of {len(moves)} steps. Raise it, or "
                "the number of steps."
            )
        return left

    @hookimpl(wrapper=True)
    def initial_latents(self, run: Run) -> Generator[None, Tensor, Tensor]:
        """``z_k = noise(z_init, k)``; where the picture was inverted, it is there already."""
        latents = yield
        clean = run.encode_image(self._pixels(run.request).to(latents))  # [1 or I, C, h, w]
        alpha = run.alpha(run.moves[0].t)
        if run.request.trajectory is None:
            latents = latents.clone()
            for branch in run.branches:
                if branch.trajectory is None:
                    place = run.layout.trajectories_of(branch.name)
                    latents[place] = add_noise(clean, latents[place], alpha)
        start = latents[run.layout.trajectories_of(MAIN)]
        self.background = Background.of(self.edit.noise_mode, clean, start, alpha)
        return latents

    @hookimpl(wrapper=True)
    def advance(self, step: Step) -> Generator[None, Tensor, Tensor]:
        """``z_p = m z_fg + (1 - m) z_bg`` at the level that the step goes to."""
        latents = yield
        main = step.layout.trajectories_of(MAIN)
        mask = self.masks.at(step.index, len(step.run.moves), self.edit.shrink).to(latents)
        blended = latents.clone()
        blended[main] = mask * latents[main] + (1 - mask) * self.background.after(step)
        return blended

    @hookimpl(wrapper=True)
    def decode(self, run: Run, latents: Tensor) -> Generator[None, Tensor, Tensor]:
        """Score the images, then put their background right."""
        images = yield
        main = run.layout.trajectories_of(MAIN)
        made = self._decoded(run, images[main], latents[main])
        run.report(REGION, list(made.mask))
        if self.scorer is not None:
            run.report(SCORE, score(self.scorer, made.images, made.mask, run.prompts(MAIN)))
        edit = self.edit
        put_right = Reconstruction(edit.preserve, edit.reconstruction_steps, edit.background_weight)
        images = images.clone()
        images[main] = put_right(run, made)
        return images

    @hookimpl(wrapper=True)
    def result(self, request: Request) -> Generator[None, Result, Result]:
        """Put the images of a prompt in order, best first."""
        result = yield
        scores = result.reports.get(SCORE)
        if scores is None:
            if self.edit.rank:
                raise InvalidRequestError(
                    "rank=True needs decoded pictures: leave output_type='latent' out, or rank."
                )
            return result
        return result.reordered(best_first(request, cast("list[float]", scores)))

    def _decoded(self, run: Run, images: Tensor, latents: Tensor) -> Decoded:
        picture = self._pixels(run.request).to(images)
        mask, reach = (each.to(images) for each in (self.masks.pixels, self.masks.reach))
        size = (len(images), 1, *images.shape[2:])
        return Decoded(
            images, latents, picture.expand_as(images), mask.expand(size), reach.expand(size)
        )

    def _pixels(self, request: Request) -> Tensor:
        picture = picture_of(request, self.edit.method)
        return fill_see_through(picture.pixels, picture.opacity)

    def _masks(self, request: Request) -> Masks:
        picture = picture_of(request, self.edit.method)
        factor = request.model.vae_factor
        return Masks.of(read_mask(self.edit, picture), factor, self.edit.soft)

    def _find_scorer(self, run: Run) -> Scorer | None:
        """Return what ranks the images; None where nothing is to be ranked.

        Raises
        ------
        NotOfferedError
            If ranking was asked for, and the model has no CLIP.
        """
        if self.edit.rank is False:
            return None
        try:
            return run.scorer
        except NotOfferedError:
            if self.edit.rank:
                raise
            return None


def picture_of(request: Request, method: str) -> PreparedImages:
    """Return the pictures of a call.

    Raises
    ------
    InvalidRequestError
        If it has none.
    """
    if request.image is None:
        raise InvalidRequestError(f"{method} edits a picture: pass image=..., or --image.")
    return request.image
