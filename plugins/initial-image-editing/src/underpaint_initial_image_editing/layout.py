"""Layout to image by swapping blocks of the initial noise (arXiv 2305.03382, sec. 5.2).

The blocks of x_T that already tend to become an object are found by the cross-attention to its
word at the first step, and swapped into the box where the object shall be. The noise's values stay
what they were, so x_T is as likely as before. A bias on the attention inside of the boxes, as in
paint-with-words, adds to it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from underpaint.method import Method, hookimpl
from underpaint.records import MAIN, AttentionEdit, Conditioning, Needs, Window
from underpaint.request import Request
from underpaint.run import Run
from underpaint.sites import Place, Site, Sites, SiteSelector
from underpaint.step import Step

from underpaint_initial_image_editing.bias import box_bias
from underpaint_initial_image_editing.blocks import permute_blocks, starting_alike
from underpaint_initial_image_editing.boxes import Box, find_counterparts, find_words, mark_boxes
from underpaint_initial_image_editing.probe import announce, read_words
from underpaint_initial_image_editing.rules import Rule, plan_swap


class LayoutToImage(Method):
    """Put objects into boxes by swapping blocks of the noise (arXiv 2305.03382)."""

    method: ClassVar[str] = "layout"

    boxes: dict[str, Box] = Field(
        description="Word of the prompt -> (left, top, right, bottom) as fractions of the picture. "
        "Words choose their blocks in this order.",
        examples=[{"dog": (0.0, 0.0, 0.5, 0.5)}],
    )
    swap: bool = Field(
        default=True, description="Swap blocks of the noise; without, the bias acts alone."
    )
    rule: Rule = Field(
        default="threshold",
        description="threshold: the blocks of greatest attention (the paper); ranking: first those "
        "that attend to the word more than to the others (the published code).",
    )
    pairing: Literal["random", "index"] = Field(
        default="random", description="How blocks are paired with places: by lot, or in order."
    )
    level: int | None = Field(
        default=None, description="Level of the map that is read; left out, that of the word maps."
    )
    place: Place = Field(
        default="down",
        description="Part of the UNet whose last cross-attention at that level is read.",
    )
    until: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Part of the noise range up to which blocks are swapped before each step; 0: "
        "before the first alone.",
    )
    bias: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Added to the logits of a word inside of its box, falling to 0 at the last "
        "step; 0: no bias.",
    )

    def start(self) -> LayoutRun:
        """Return the plugin of one run."""
        return LayoutRun(self)

    def site(self, sites: Sites) -> Site:
        """Return the cross-attention site that is read; UnknownSiteError if there is none."""
        level = sites.word_level if self.level is None else self.level
        place = frozenset({self.place})
        return sites.select(SiteSelector("cross", levels=frozenset({level}), places=place))[-1]


class LayoutRun:
    """One run: where the boxes are, and the tokens of their words."""

    site: Site
    boxes: Tensor  # bool [K, rows, columns]
    words: list[list[tuple[int, ...]]]  # I lists of K

    def __init__(self, edit: LayoutToImage) -> None:
        self.edit = edit
        self.biases: dict[str, dict[str, Tensor]] = {}  # branch -> site -> [I, N, L]

    @hookimpl
    def needs(self, request: Request) -> Needs:
        """Read one site, but in none of the steps; write a bias."""
        site = self.edit.site(request.model.sites)
        mark_boxes(self.edit.boxes, _grid(request, site))
        biased = self.edit.bias > 0
        taps = (announce(site),) if self.edit.swap else ()
        return Needs(taps=taps, edits=biased, cross_bias=biased)

    @hookimpl(wrapper=True)
    def conditioning(self, run: Run) -> Generator[None, Conditioning, Conditioning]:
        """Find the words before anything is computed."""
        self.site = self.edit.site(run.request.model.sites)
        self.boxes = mark_boxes(self.edit.boxes, _grid(run.request, self.site))
        prompts = run.tokens(run.prompts(MAIN))
        self.words = [find_words(list(self.edit.boxes), tokens) for tokens in prompts]
        if self.edit.bias > 0:
            free = [branch.name for branch in run.branches if branch.trajectory is None]
            self.biases = {branch: self._biases(run, branch) for branch in free}
        return (yield)

    @hookimpl(wrapper=True)
    def initial_latents(self, run: Run) -> Generator[None, Tensor, Tensor]:
        """Swap blocks of x_T."""
        latents = yield
        return self._swap(run, 0, latents)

    @hookimpl(wrapper=True)
    def advance(self, step: Step) -> Generator[None, Tensor, Tensor]:
        """Swap again before the next step, up to `until`."""
        latents = yield
        index, moves = step.index + 1, step.run.moves
        if index == len(moves):
            return latents
        following = Step(step.run, index, moves[index], latents)
        again = Window(0.0, self.edit.until).contains(following.progress)
        return self._swap(step.run, index, latents) if again else latents

    @hookimpl
    def attention_edits(self, step: Step) -> Sequence[AttentionEdit]:
        """Add the bias, falling linearly, at every cross-attention site.

        Other branches get it too, at the counterparts of the words: a method that takes its maps
        from one of them, such as Prompt-to-Prompt, would draw the layout of that branch.
        """
        strength = self.edit.bias * (1 - step.progress)
        return [
            AttentionEdit(
                branch, branch, cross_bias={name: strength * bias for name, bias in biases.items()}
            )
            for branch, biases in self.biases.items()
        ]

    def _swap(self, run: Run, index: int, latents: Tensor) -> Tensor:
        if not (self.edit.swap and self.edit.boxes):
            return latents
        maps = read_words(run, index, latents, self.site, self.words)  # [I, K, N]
        lots = run.randn("layout.pairing", index)[:, 0].flatten(1).cpu()
        drawn = lots if self.edit.pairing == "random" else [None] * len(maps)
        boxes = self.boxes.flatten(1)
        pairs = zip(maps, drawn, strict=True)
        sources = torch.stack([plan_swap(own, boxes, self.edit.rule, lot) for own, lot in pairs])
        if index == 0:
            self._report(run, maps, sources)
        swapped = latents.clone()
        for branch in starting_alike(run, latents):
            rows = run.layout.trajectories_of(branch)
            swapped[rows] = permute_blocks(latents[rows], sources, 1 << self.site.level)
        return swapped

    def _biases(self, run: Run, branch: str) -> dict[str, Tensor]:
        length = run.request.model.context_length
        prompts = zip(run.tokens(run.prompts(MAIN)), run.tokens(run.prompts(branch)), strict=True)
        words = [find_counterparts(list(self.edit.boxes), own, other) for own, other in prompts]
        return {
            site.name: box_bias(self.boxes, words, _grid(run.request, site), length).to(
                run.engine.device
            )
            for site in run.request.model.sites.of_kind("cross")
        }

    def _report(self, run: Run, maps: Tensor, sources: Tensor) -> None:
        shape = self.boxes.shape[1:]
        run.report("layout.sources", list(sources.reshape(-1, *shape)))
        run.report(
            "layout.maps",
            [dict(zip(self.edit.boxes, own.reshape(-1, *shape), strict=True)) for own in maps],
        )


def _grid(request: Request, site: Site) -> tuple[int, int]:
    _, height, width = request.latent_shape
    return height >> site.level, width >> site.level
