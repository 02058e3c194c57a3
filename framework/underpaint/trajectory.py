"""A latent's known path through the noise levels: inverted, or noised forward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from underpaint.errors import TrajectoryMismatchError
from underpaint.records import Move
from underpaint.schedule import NoiseSchedule, add_noise


@dataclass(frozen=True, eq=False)
class Tuned:
    """Uncond embeddings that were tuned along a path (null-text inversion, arXiv 2211.09794).

    Attributes
    ----------
    levels : the S+1 noise levels of the moves they were tuned on, noisiest first.
    embeddings : ``[S, I, L, d]`` fp32, one per move; I may be 1 and then serves every image.
    guidance_scale, negative_prompts : of the call they were tuned for; one prompt an embedding.
    edit : JSON of the method that tuned them.
    """

    levels: tuple[int, ...]
    embeddings: Tensor
    guidance_scale: float
    negative_prompts: tuple[str, ...]
    edit: Mapping[str, Any]

    def along(self, moves: Sequence[Move]) -> Tensor:
        """Return the embeddings of some moves, ``[S, I, L, d]``.

        Raises
        ------
        TrajectoryMismatchError
            If a move leads from a level, or to one, for which none was tuned.
        """
        known = {pair: i for i, pair in enumerate(zip(self.levels, self.levels[1:], strict=False))}
        # The model is not asked when noise is added: such a move may have any embedding.
        wanted = [(m.t, m.next_t) if m.kind == "denoise" else next(iter(known)) for m in moves]
        for pair in wanted:
            if pair not in known:
                raise TrajectoryMismatchError(
                    f"The trajectory's embeddings were tuned ({self.edit['method']}) on "
                    f"{len(known)} steps from level {self.levels[0]}, none of which leads from "
                    f"{pair[0]} to {pair[1]}. Use that number of steps and spacing, or invert the "
                    "picture again."
                )
        return self.embeddings[[known[pair] for pair in wanted]]

    def take(self, images: Sequence[int]) -> Tuned:
        """Return the embeddings of some images, in that order; one for all serves them too."""
        if len(self.negative_prompts) == 1:
            return self
        return replace(
            self,
            embeddings=self.embeddings[:, list(images)],
            negative_prompts=tuple(self.negative_prompts[image] for image in images),
        )


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Pivots of one or several images.

    Attributes
    ----------
    levels : the noise levels of the pivots, noisiest first, -1 for the clean latent.
    pivots : ``[K, I, C, h, w]`` fp32; I may be 1 and then serves every image.
    prompts : those it was made with: one per image, or one for all; empty where none was used.
    made_by : the method, e.g. ``ddim-inversion``.
    model_digest : digest of the model it was made with; empty for paths that used no model.
    tuned : uncond embeddings per step (null-text), or None; the method that had them tuned reads
        them.
    """

    levels: tuple[int, ...]
    pivots: Tensor
    prompts: tuple[str, ...]
    made_by: str
    model_digest: str = ""
    tuned: Tuned | None = None

    @classmethod
    def noised(
        cls, clean: Tensor, noise: Tensor, schedule: NoiseSchedule, moves: Sequence[Move]
    ) -> Trajectory:
        """Noise clean latents ``[I, C, h, w]`` forward with one fixed noise.

        This is how Self-Guidance (arXiv 2306.00986) reads a real image: no inversion, no model.
        """
        levels = tuple(dict.fromkeys(level for m in moves for level in (m.t, m.next_t)))
        pivots = [
            clean if level < 0 else add_noise(clean, noise, schedule.alpha(level))
            for level in levels
        ]
        return cls(levels, torch.stack(pivots), prompts=(), made_by="forward-noise")

    def at(self, level: int) -> Tensor:
        """Return the pivots ``[I, C, h, w]`` of a level.

        Raises
        ------
        TrajectoryMismatchError
            If the level is not on the path: it was made with another schedule.
        """
        if level not in self.levels:
            raise TrajectoryMismatchError(
                f"The trajectory ({self.made_by}) has no pivot at level {level}; it holds "
                f"{len(self.levels)} levels from {self.levels[0]} to {self.levels[-1]}. "
                "Use the number of steps and the spacing it was made with, or make it again."
            )
        return self.pivots[self.levels.index(level)]

    def part(self, start: int, stop: int) -> Trajectory:
        """Return the path of the images ``start ... stop-1``; one for all serves them too."""
        return self.take(range(start, stop))

    def take(self, images: Sequence[int]) -> Trajectory:
        """Return the path of some images, in that order; one for all serves them too."""
        tuned = self.tuned and self.tuned.take(images)
        if self.pivots.shape[1] == 1:
            return replace(self, tuned=tuned)
        known = [image for image in images if image < self.pivots.shape[1]]  # see `check`
        own = self.prompts if len(self.prompts) <= 1 else [self.prompts[image] for image in known]
        return replace(self, pivots=self.pivots[:, known], prompts=tuple(own), tuned=tuned)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all; `load` reads it."""
        from underpaint.trajectory_file import save

        save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Trajectory:
        """Read what `save` wrote.

        Raises
        ------
        TrajectoryMismatchError
            If the file is corrupt, or holds no trajectory.
        """
        from underpaint.trajectory_file import load

        return load(Path(path))

    def check(self, model_digest: str, moves: Sequence[Move], shape: tuple[int, ...]) -> None:
        """Raise TrajectoryMismatchError unless it fits the model, the moves and the latents.

        `shape` is that of the latents of one branch, ``(I, C, h, w)``.
        """
        if self.model_digest and self.model_digest != model_digest:
            raise TrajectoryMismatchError(
                f"The trajectory ({self.made_by}) was made with model {self.model_digest[:12]}, "
                f"this is {model_digest[:12]}. Make it again with this model."
            )
        if tuple(self.pivots.shape[1:]) not in (shape, (1, *shape[1:])):
            raise TrajectoryMismatchError(
                f"The trajectory ({self.made_by}) holds latents of {tuple(self.pivots.shape[1:])} "
                f"(images, channels, height, width), the call has {shape}. "
                "Use the size and the number of images it was made with, or make it again."
            )
        for move in moves:
            self.at(move.t)
            self.at(move.next_t)
