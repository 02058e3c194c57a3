"""Prompt-to-Prompt image editing with cross-attention control (arXiv 2208.01626, algorithm 1).

Source and target are denoised together from the same noise. While they are, the target's
attention maps are made of the source's, which keeps the layout, and its own, which bring the
change: ``A' = Edit(A_source, A_target, t)``. All edits are linear in the maps, so they reach the
engine as ``A' = A_source P + A diag(d)`` and no map is ever written out.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import ClassVar

from pydantic import Field
from torch import Tensor
from underpaint.method import Method, hookimpl
from underpaint.records import (
    MAIN,
    AttentionEdit,
    Branch,
    Conditioning,
    Needs,
    Prediction,
    Tap,
    Window,
)
from underpaint.request import Request
from underpaint.run import Run
from underpaint.sites import Sites, SiteSelector
from underpaint.step import Step

from underpaint_prompt_to_prompt.alignment import align, official_align
from underpaint_prompt_to_prompt.blend import Blender, BlendWords, LocalBlend
from underpaint_prompt_to_prompt.checks import check_length, check_parameters
from underpaint_prompt_to_prompt.cross import CrossEdit, Span, Spans, as_window, word_windows
from underpaint_prompt_to_prompt.words import Edit, edit_kind

SOURCE = "source"


class PromptToPrompt(Method):
    """Edit the picture of one prompt by changing its words (arXiv 2208.01626)."""

    method: ClassVar[str] = "prompt-to-prompt"

    source: str = Field(
        description="The prompt of the picture to start from.", examples=["a cat on green grass"]
    )
    edit: Edit = Field(
        "auto",
        description="replace: word for word; refine: words are added or dropped; auto: replace "
        "where the prompts have equally many words, else refine.",
    )
    reweight: dict[str, float] = Field(
        {},
        description="Weight of the attention to words of the prompt: above 1 more, below 1 less.",
    )
    cross_replace: Spans = Field(
        0.8,
        description="Part of the noise range in which the source's cross-attention is taken: its "
        "end, (start, end), or either for each word and 'default_' for the others.",
    )
    self_replace: Span = Field(
        0.4, description="The same for self-attention, which holds shapes: its end or (start, end)."
    )
    self_levels: tuple[int, ...] | None = Field(
        None,
        description="Levels whose self-attention is taken (0: the latent's size, 2: a quarter of "
        "its side); left out: the level of the word maps and all smaller ones.",
    )
    blend: LocalBlend | None = Field(
        None, description="LocalBlend: outside of its words' places the picture stays as it is."
    )
    official_quirks: bool = Field(
        False, description="Align tokens as the published code does, mistakes included."
    )

    def start(self) -> PromptToPromptRun:
        """Return the plugin of one run."""
        return PromptToPromptRun(self)


class PromptToPromptRun:
    """One run: the token maps, made once, and the blended masks."""

    cross: CrossEdit
    self_sites: frozenset[str]
    blender: Blender | None = None

    def __init__(self, edit: PromptToPrompt) -> None:
        self.edit = edit

    @hookimpl
    def needs(self, request: Request) -> Needs:
        """Write attention; read the word maps for LocalBlend."""
        check_parameters(self.edit, request.prompts)
        self_sites(self.edit.self_levels, request.model.sites)
        taps = (Tap(request.model.sites.words()),) if self.edit.blend else ()
        return Needs(taps=taps, edits=True)

    @hookimpl
    def branches(self) -> Sequence[Branch]:
        """Denoise the source prompt beside each image, from the same noise."""
        return [Branch(SOURCE, self.edit.source, real=True)]

    @hookimpl(wrapper=True)
    def conditioning(self, run: Run) -> Generator[None, Conditioning, Conditioning]:
        """Align the prompts, once a run and before anything is computed."""
        edit, prompts = self.edit, run.prompts(MAIN)
        sources, targets = run.tokens(run.prompts(SOURCE)), run.tokens(prompts)
        check_length([*sources, *targets])
        kinds = [edit_kind(edit.edit, edit.source, prompt) for prompt in prompts]
        make = official_align if edit.official_quirks else align
        alignments = [make(*each) for each in zip(kinds, sources, targets, strict=True)]
        windows = word_windows(edit.cross_replace)
        self.cross = CrossEdit.of(alignments, targets, edit.reweight, windows)
        self.self_sites = self_sites(edit.self_levels, run.request.model.sites)
        if edit.blend:
            words = BlendWords.of(edit.blend, kinds, sources, targets, tuple(edit.reweight))
            self.blender = Blender(edit.blend, words)
        run.report("prompt-to-prompt.edit", kinds)
        return (yield)

    @hookimpl
    def attention_edits(self, step: Step) -> Sequence[AttentionEdit]:
        """Edit(A_source, A_target, t): of the cond half, each kind of attention in its window."""
        if step.move.kind != "denoise":
            return []
        cross = self.cross.at(step.progress)
        during = as_window(self.edit.self_replace).contains(step.progress)
        sites = self.self_sites if during else frozenset()
        if cross is None and not sites:
            return []
        matrix, scale = cross or (None, None)
        return [
            AttentionEdit(
                target=MAIN,
                source=SOURCE,
                cross_map=matrix,
                cross_scale=scale,
                self_q=sites,
                self_k=sites,
            )
        ]

    @hookimpl(wrapper=True)
    def predict(self, step: Step) -> Generator[None, Prediction, Prediction]:
        """Collect the edited word maps of this step for LocalBlend."""
        prediction = yield
        if self.blender is not None and prediction.maps is not None:
            maps = prediction.maps.select(step.run.request.model.sites.words())
            edited = maps.with_edits(step.edits)
            self.blender.add(edited.words(SOURCE), edited.words(MAIN))
        return prediction

    @hookimpl(wrapper=True)
    def advance(self, step: Step) -> Generator[None, Tensor, Tensor]:
        """Keep the source's latent outside of the words' places."""
        latents = yield
        blender = self.blender
        if blender is None or not Window(blender.blend.start, 1.0).contains(step.progress):
            return latents
        source = step.layout.trajectories_of(SOURCE)
        target = step.layout.trajectories_of(MAIN)
        blended = latents.clone()
        blended[target] = blender(latents[source], latents[target])
        if blender.mask is not None:
            step.run.report("prompt-to-prompt.mask", list(blender.mask.bool().cpu()))
        return blended


def self_sites(levels: tuple[int, ...] | None, sites: Sites) -> frozenset[str]:
    """Return the names of the self-attention sites of some levels.

    None takes the word level and all smaller maps: 16x16 and below, in Stable Diffusion at 512.
    """
    if levels is None:
        levels = tuple(range(sites.word_level, sites.deepest_level + 1))
    chosen = sites.select(SiteSelector("self", levels=frozenset(levels))) if levels else ()
    return frozenset(site.name for site in chosen)
