"""What a call gives back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from underpaint.errors import InvalidRequestError, NotOfferedError, choices
from underpaint.preparation import PreparedImages
from underpaint.records import MAIN
from underpaint.tokens import Tokens
from underpaint.trajectory import Trajectory

REGION = "region"
"""Report name of where a method paints into an image: ``[1, H, W]`` in [0, 1], 1 where it does.

The sheet of ``underpaint edit`` shows it on the picture.
"""


@dataclass(frozen=True, eq=False)
class WordMaps:
    """Cross-attention maps of one branch's words, averaged over sites and heads.

    ``maps["dog"]`` is ``[I, side, side]``, or ``[I, S, side, side]`` when recorded per step: how
    much each place attends to the word, summed over its tokens. `branch` chooses another branch.
    """

    values: Mapping[str, Sequence[Tensor]]
    tokens: Mapping[str, Sequence[Tokens]]
    name: str = MAIN

    def branch(self, name: str) -> WordMaps:
        """Return the maps of another branch."""
        if name not in self.values:
            raise InvalidRequestError(f"No branch {name!r}. {choices(name, self.values)}")
        return WordMaps(self.values, self.tokens, name)

    def image(self, index: int) -> WordMaps:
        """Return the maps of one image alone."""
        return self.take([index])

    def take(self, images: Sequence[int]) -> WordMaps:
        """Return the maps of some images, in that order."""
        return WordMaps(
            {name: [maps[image] for image in images] for name, maps in self.values.items()},
            {name: [tokens[image] for image in images] for name, tokens in self.tokens.items()},
            self.name,
        )

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the first image's prompt, in order, each once."""
        return tuple(dict.fromkeys(self.tokens[self.name][0].words))

    def __iter__(self) -> Iterator[str]:
        return iter(self.words)

    def __getitem__(self, word: str) -> Tensor:
        maps, tokens = self.values[self.name], self.tokens[self.name]
        return torch.stack(
            [m[..., list(t.find(word)), :, :].sum(-3) for m, t in zip(maps, tokens, strict=True)]
        )


@dataclass(frozen=True)
class Timings:
    """Seconds: the whole call, preparation (text, schedule), each step, decoding."""

    total: float
    prepare: float
    steps: tuple[float, ...]
    decode: float


@dataclass(frozen=True, eq=False)
class Result:
    """Images and everything known about how they came about.

    Attributes
    ----------
    images : one per image, of the asked `output_type`.
    branches : the other branches' images by name, e.g. ``branches["source"]``.
    latents : final latents of the main branch ``[I, C, h, w]``.
    seeds : one per image.
    timings : in seconds; the runs of a split request are added up.
    warnings : what the user should know.
    recipe : JSON that reproduces the images: ``pipe.replay(recipe)``.
    reports : what plugins report, by name, one value per image.
    word_maps : the recorded maps, or None; read them through `attention`.
    image : the call's pictures in the model's frame, and how they were made to fit; or None.
    trajectory : the path they were inverted along, for further edits of them; or None.
    """

    images: list[Any]
    branches: Mapping[str, list[Any]]
    latents: Tensor
    seeds: tuple[int, ...]
    timings: Timings
    warnings: tuple[str, ...]
    recipe: dict[str, Any]
    reports: Mapping[str, list[object]] = field(default_factory=dict)
    word_maps: WordMaps | None = None
    image: PreparedImages | None = None
    trajectory: Trajectory | None = None

    @property
    def attention(self) -> WordMaps:
        """The words' attention maps.

        Raises
        ------
        NotOfferedError
            If they were not recorded: a call without edits taps nothing unless it is asked to.
        """
        if self.word_maps is None:
            raise NotOfferedError(
                "Attention was not recorded in this call. Pass record_attention=True."
            )
        return self.word_maps

    def reordered(self, order: Sequence[int]) -> Result:
        """Return the images in another order, with all that belongs to each of them.

        ``order[k]`` is the present place of the image that comes k-th. The recipe stays: it repeats
        the call, which orders its images again.

        Raises
        ------
        InvalidRequestError
            If `order` does not name each image once.
        """
        if sorted(order) != list(range(len(self.images))):
            raise InvalidRequestError(
                f"order={list(order)}: name each of the {len(self.images)} images once, by its "
                "present place, which counts from 0."
            )
        return replace(
            self,
            images=[self.images[image] for image in order],
            branches={name: [own[image] for image in order] for name, own in self.branches.items()},
            latents=self.latents[list(order)],
            seeds=tuple(self.seeds[image] for image in order),
            reports={name: [own[image] for image in order] for name, own in self.reports.items()},
            word_maps=self.word_maps and self.word_maps.take(order),
            image=self.image and self.image.take(order),
            trajectory=self.trajectory and self.trajectory.take(order),
        )
