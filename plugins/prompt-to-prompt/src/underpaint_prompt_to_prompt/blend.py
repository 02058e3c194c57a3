"""LocalBlend: the edit is kept to where its words are (arXiv 2208.01626, sec. 3.2 "local editing").

The paper's algorithm 1 is extended as in its published notebooks: the edited attention maps of
the changed words are summed over the steps so far and thresholded to a mask, and outside of it
the target's latent is the source's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from underpaint.tokens import Tokens

from underpaint_prompt_to_prompt.words import Kind, changed_words, find_if_there, word_slots

Words = tuple[str, ...]


class LocalBlend(BaseModel):
    """Keep the edit to the places that its words attend to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: Words = Field(
        (),
        description="Words of the prompt whose place may change; left out: those that differ, "
        "or that are re-weighted.",
    )
    source_words: Words = Field(
        (),
        description="Words of the source whose place may change; left out: those that differ, "
        "or `words` where nothing does.",
    )
    threshold: float = Field(
        0.3, description="Part of the greatest attention from which a place belongs to the words."
    )
    start: float = Field(
        0.2, description="Part of the noise range after which the latents are blended."
    )
    subtract: Words = Field(
        (), description="Words whose place must not change, in the prompt or the source."
    )
    subtract_threshold: float = Field(0.3, description="Like `threshold`, for `subtract`.")


@dataclass(frozen=True, eq=False)
class BlendWords:
    """The tokens LocalBlend looks at, as 0/1 indicators ``[I, L]`` of source and target."""

    source: Tensor
    target: Tensor
    subtract_source: Tensor
    subtract_target: Tensor

    @classmethod
    def of(
        cls,
        blend: LocalBlend,
        kinds: Sequence[Kind],
        sources: Sequence[Tokens],
        targets: Sequence[Tokens],
        reweighted: Words,
    ) -> BlendWords:
        """Find the words in each image's prompts; what is not named follows from the edit."""
        rows = []
        for kind, source, target in zip(kinds, sources, targets, strict=True):
            went, came = changed_words(kind, source.text, target.text)
            new = blend.words or (() if came else reweighted)
            old = blend.source_words or (() if went else new)
            rows.append(
                (
                    _indicator(source, old) if old else _at_words(source, went),
                    _indicator(target, new) if new else _at_words(target, came),
                    _indicator(source, blend.subtract),
                    _indicator(target, blend.subtract),
                )
            )
        return cls(*(torch.stack(column) for column in zip(*rows, strict=True)))


class Blender:
    """The masks of one run.

    Attributes
    ----------
    mask : ``[I, 1, h, w]``, 1 where the latents may differ; None before the first blend.
    """

    def __init__(self, blend: LocalBlend, words: BlendWords) -> None:
        self.blend = blend
        self.words = words
        self.mask: Tensor | None = None
        self._sums: list[Tensor] = []

    def add(self, source: Tensor, target: Tensor) -> None:
        """Add one step's edited maps ``[I, L, r, c]``, averaged over sites and heads."""
        maps = [source, target]
        self._sums = [a + b for a, b in zip(self._sums, maps, strict=True)] if self._sums else maps

    def __call__(self, source: Tensor, target: Tensor) -> Tensor:
        """Return ``x_source + mask (x_target - x_source)``, all ``[I, C, h, w]``."""
        size = (target.shape[-2], target.shape[-1])
        self.mask = self._mask(size).to(target)
        return source + self.mask * (target - source)

    def _mask(self, size: tuple[int, int]) -> Tensor:
        """Return where the latents may differ, bool ``[I, 1, h, w]``."""
        blend, words = self.blend, self.words
        wanted = self._places(words.source, words.target, size, blend.threshold, pool=True)
        if blend.subtract:
            kept = (words.subtract_source, words.subtract_target)
            wanted &= ~self._places(*kept, size, blend.subtract_threshold, pool=False)
        return wanted

    def _places(
        self, source: Tensor, target: Tensor, size: tuple[int, int], threshold: float, pool: bool
    ) -> Tensor:
        """Return where the words are in the source or in the target, bool ``[I, 1, h, w]``."""
        found = []
        for maps, tokens in zip(self._sums, (source, target), strict=True):
            place = torch.einsum("ilrc,il->irc", maps, tokens.to(maps))[:, None]  # [I, 1, r, c]
            if pool:
                place = F.max_pool2d(place, kernel_size=3, stride=1, padding=1)
            place = F.interpolate(place, size)  # nearest: [I, 1, h, w]
            peak = place.amax((2, 3), keepdim=True).clamp(min=torch.finfo(place.dtype).tiny)
            found.append(place / peak > threshold)
        return found[0] | found[1]


def _indicator(tokens: Tokens, words: Words) -> Tensor:
    row = torch.zeros(len(tokens.ids))
    for word in words:
        row[list(find_if_there(tokens, word))] = 1
    return row


def _at_words(tokens: Tokens, positions: Sequence[int]) -> Tensor:
    slots = word_slots(tokens)
    row = torch.zeros(len(tokens.ids))
    for position in positions:
        row[slots[2 * position + 1]] = 1
    return row
