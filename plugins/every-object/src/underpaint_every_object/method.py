"""Every named object in the picture: the energy of Attend-and-Excite (arXiv 2301.13826).

A model that is asked for a cat and a dog may forget one: no place in the picture attends to its
word. The energy is that of the most neglected word, ``max_s (1 - max A_s)``, and each of the first
steps goes down its gradient: ``z_t <- z_t - scale * grad``. The paper's further descents at single
steps, until a threshold is reached, are not made here.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from underpaint.errors import PluginError
from underpaint.guidance import Guidance, Observation
from underpaint.method import Method, hookimpl
from underpaint.records import MAIN, Conditioning, Needs, Tap, Window
from underpaint.request import Request
from underpaint.run import Run
from underpaint.step import Step
from underpaint.tokens import Tokens

SHARPNESS = 100.0
"""The paper's factor before the softmax over words."""

KERNEL = torch.tensor([0.1065, 0.7870, 0.1065])
"""The paper's Gaussian of three cells with a deviation of half a cell."""


class EveryObject(Method):
    """Draw every named object: excite the most neglected word (after arXiv 2301.13826)."""

    method: ClassVar[str] = "every-object"

    objects: tuple[str, ...] = Field(
        min_length=1, description="Words or phrases of the prompt; repeat it for several."
    )
    scale: float = Field(
        default=20.0, ge=0, description="Of the gradient on the latents; 0 is no edit."
    )
    until: float = Field(
        default=0.5, ge=0, le=1, description="Part of the noise range that is guided."
    )

    def start(self) -> EveryObjectRun:
        """Return the plugin of one run."""
        return EveryObjectRun(self)


class EveryObjectRun:
    """One run: the places of the objects' words in each prompt."""

    def __init__(self, edit: EveryObject) -> None:
        self.edit = edit
        self.window = Window(0.0, edit.until)
        self.prompts: list[Tokens] = []

    @hookimpl
    def needs(self, request: Request) -> Needs:
        """Read the word maps while steps are guided, and differentiate them."""
        tap = Tap(request.model.sites.words(), during=self.window)
        return Needs((tap,), gradient=frozenset({"sample"}))

    @hookimpl(wrapper=True)
    def conditioning(self, run: Run) -> Generator[None, Conditioning, Conditioning]:
        """Find the words, before anything is computed."""
        self.prompts = run.tokens(run.prompts(MAIN))
        for tokens in self.prompts:
            for name in self.edit.objects:
                tokens.find(name)  # a word that is not there is an error that lists those that are
        return (yield)

    @hookimpl
    def guidance(self, step: Step) -> Sequence[Guidance]:
        """Move the latents (eq. 3), by the conditional row's maps."""
        if not (self.edit.scale and self.window.contains(step.progress)):
            return []
        if step.move.kind != "denoise":
            return []
        return [Guidance(self.energy, self.edit.scale, into="latents", halves=("cond",))]

    def energy(self, seen: Observation) -> Tensor:
        """Return ``max_s (1 - max A_s)`` for each image, ``[I]``."""
        if seen.maps is None:
            raise PluginError("every-object was asked for its energy at a step without readings.")
        words = seen.maps.words(MAIN)  # [I, L, h, w]
        pairs = zip(words, self.prompts, strict=True)
        return torch.stack([neglect(maps, tokens, self.edit.objects) for maps, tokens in pairs])


def neglect(maps: Tensor, tokens: Tokens, objects: Sequence[str]) -> Tensor:
    """Return how neglected the most neglected object is, 0 to 1; maps ``[L, h, w]``.

    Words compete for each place: a softmax over all tokens of the text but its begin and its end.
    """
    text = (SHARPNESS * maps[1 : tokens.count - 1]).softmax(0)
    found = [
        1 - smooth(text[[token - 1 for token in tokens.find(name)]].mean(0)).max()
        for name in objects
    ]
    return torch.stack(found).max()


def smooth(values: Tensor) -> Tensor:
    """Return a map ``[h, w]`` blurred with the paper's Gaussian, its edges mirrored."""
    kernel = torch.outer(KERNEL, KERNEL).to(values)
    padded = F.pad(values[None, None], (1, 1, 1, 1), mode="reflect")
    return F.conv2d(padded, kernel[None, None])[0, 0]
