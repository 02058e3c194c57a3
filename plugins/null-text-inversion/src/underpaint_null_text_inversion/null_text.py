"""Null-text inversion (arXiv 2211.09794): the edit.

A guided denoising from a picture's inverted noise drifts away from the picture. The unconditional
embedding is the one input of it that carries no meaning of its own: tuned step by step
(`pivotal_tuning`), it leads guidance back along the picture's path, and the edit keeps its weights,
its prompts and its attention.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import ClassVar

from underpaint.errors import InvalidRequestError
from underpaint.method import Method, hookimpl
from underpaint.records import Conditioning, Needs
from underpaint.run import Run

from underpaint_null_text_inversion.pivotal_tuning import PivotalTuning, TuningParameters


class NullTextInversion(TuningParameters):
    """Tune the unconditional embedding of each step to the picture (arXiv 2211.09794)."""

    method: ClassVar[str] = "null-text-inversion"

    def tuning(self) -> Method:
        """Return what tunes the embeddings, once a picture."""
        return PivotalTuning.model_validate(self.model_dump())

    def start(self) -> NullTextRun:
        """Return the plugin of one run."""
        return NullTextRun()


class NullTextRun:
    """One run of the edit."""

    @hookimpl
    def needs(self) -> Needs:
        """Start from the inverted picture."""
        return Needs(inversion=True)

    @hookimpl(wrapper=True)
    def conditioning(self, run: Run) -> Generator[None, Conditioning, Conditioning]:
        """Put the tuned embedding of each step in the place of every unconditional one (4.3)."""
        conditioning = yield
        path = run.request.trajectory
        if path is None:
            raise InvalidRequestError(
                f"{NullTextInversion.method} edits a picture: pass image=..., or "
                "trajectory=pipe.invert(image, prompt)."
            )
        for branch in run.layout.branches:
            if path.tuned is not None and run.layout.rows_of(branch, "uncond"):
                tuned = path.tuned.along(run.moves)  # [S, I or 1, L, d]
                own = conditioning.embeddings[branch, "uncond"]  # [I, L, d]
                value = tuned.to(own).expand(-1, *own.shape)
                conditioning = conditioning.replace(branch, "uncond", value)
        return conditioning
