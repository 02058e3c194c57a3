"""Zero-shot image-to-image translation (arXiv 2302.03027, algorithm 2).

A direction in the space of text embeddings leads from one concept to another, e.g. from cat to
dog. It is added to the embedding of what the picture shows, and the picture is made again from the
same noise. So that its layout stays, every step first moves the latent until the cross-attention
maps are near those of the reference, the same picture without the direction. Both are denoised in
lockstep: of the reference's maps only the current step's exist.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor
from underpaint.guidance import Guidance
from underpaint.method import Method, hookimpl
from underpaint.records import MAIN, Branch, Conditioning, Needs, Prediction
from underpaint.request import Request
from underpaint.run import Run
from underpaint.step import Step

from underpaint_pix2pix_zero.attention import MAPS, REFERENCE, guide_by_row, map_distance
from underpaint_pix2pix_zero.checks import check_parameters, usual_guidance
from underpaint_pix2pix_zero.direction import Direction, mean_embedding
from underpaint_pix2pix_zero.inversion import RegularisedInversion
from underpaint_pix2pix_zero.sentences import fill, swap


class Pix2PixZero(Method):
    """Move a picture along an edit direction, without a new prompt (arXiv 2302.03027).

    The call's prompt says what the picture shows. The direction comes from a file, or from two
    words.
    """

    method: ClassVar[str] = "pix2pix-zero"

    direction: str | None = Field(
        None, description="A file that `underpaint pix2pix-zero direction` wrote."
    )
    source_word: str | None = Field(
        None,
        description="In place of a file: the word of the prompt to lead away from.",
        examples=["dog"],
    )
    target_word: str | None = Field(None, description="The word to lead to.", examples=["cat"])
    templates: tuple[str, ...] = Field(
        (),
        description="Sentences with ... in the word's place, whose mean is the direction; left "
        "out, the prompt is the one sentence.",
    )
    strength: float = Field(1.0, description="Factor of the direction; 0 changes nothing.")
    attention_guidance: float | None = Field(
        None,
        ge=0,
        description="Step down the difference of the attention maps, 0 for none; left out, 0.1, "
        "or 0.01 for a v-prediction model.",
    )
    negative: Literal["auto", "source", "call"] = Field(
        "auto",
        description="The negative prompt: what the picture shows (source), the call's, or auto: "
        "source where a real picture is edited and the call has none.",
    )
    regularise: bool = Field(
        True, description="Keep the noise white while a real picture is inverted."
    )
    official_quirks: bool = Field(
        False,
        description="Guide as the published code does: the rows of both halves move apart, and "
        "the unconditional one's latent is gone on from.",
    )

    def start(self) -> Pix2PixZeroRun:
        """Return the plugin of one run."""
        return Pix2PixZeroRun(self)

    def inverting(self) -> Sequence[Method]:
        """Regularise the inversion of a real picture."""
        return (RegularisedInversion.model_validate({}),) if self.regularise else ()


class Pix2PixZeroRun:
    """One run."""

    def __init__(self, edit: Pix2PixZero) -> None:
        self.edit = edit

    @hookimpl
    def needs(self, request: Request) -> Needs:
        """Compare all cross-attention maps, with their gradient; start from a real picture."""
        check_parameters(self.edit, request)
        if not self._guidance(request):
            return Needs(inversion=True)
        return Needs(taps=(MAPS,), gradient=frozenset({"sample"}), inversion=True)

    @hookimpl
    def branches(self) -> Sequence[Branch]:
        """Denoise the same prompt beside each image, without the direction."""
        return [Branch(REFERENCE, None, real=True)]

    @hookimpl(wrapper=True)
    def conditioning(self, run: Run) -> Generator[None, Conditioning, Conditioning]:
        """Add the direction to the edited branch's prompt (section 3.1)."""
        conditioning = yield
        shown = run.encode(run.prompts(MAIN))  # [I, L, d]
        if self._negates(run.request):
            for branch in (MAIN, REFERENCE):
                if run.layout.rows_of(branch, "uncond"):
                    conditioning = conditioning.replace(branch, "uncond", shown)
        own = conditioning.embeddings[MAIN, "cond"]
        moved = own + self.edit.strength * self._difference(run, shown).to(own)
        return conditioning.replace(MAIN, "cond", moved)

    @hookimpl
    def guidance(self, step: Step) -> Sequence[Guidance]:
        """``x <- x - scale * grad |M_edit - M_ref|^2`` (eq. 5), by the conditional row's maps."""
        scale = self._guidance(step.run.request)
        if not scale or self.edit.official_quirks or step.move.kind != "denoise":
            return []
        return [Guidance(map_distance, scale, into="latents", halves=("cond",))]

    @hookimpl(wrapper=True)
    def predict(self, step: Step) -> Generator[None, Prediction, Prediction]:
        """Guide as the published code does, where that is asked for."""
        prediction = yield
        scale = self._guidance(step.run.request)
        if not scale or not self.edit.official_quirks or step.move.kind != "denoise":
            return prediction
        return guide_by_row(step, prediction, scale)

    def _guidance(self, request: Request) -> float:
        own = self.edit.attention_guidance
        return usual_guidance(request.model) if own is None else own

    def _negates(self, request: Request) -> bool:
        if self.edit.negative != "auto":
            return self.edit.negative == "source"
        return request.trajectory is not None and not any(request.negative_prompts)

    def _difference(self, run: Run, shown: Tensor) -> Tensor:
        """Return the direction, ``[L, d]`` or, from each image's own prompt, ``[I, L, d]``."""
        edit = self.edit
        if edit.direction is not None:
            return Direction.load(Path(edit.direction)).difference
        source, target = str(edit.source_word), str(edit.target_word)
        if edit.templates:
            banks = [mean_embedding(run.encode, fill(edit.templates, w)) for w in (target, source)]
            return banks[0] - banks[1]
        return run.encode([swap(each, source, target) for each in run.prompts(MAIN)]) - shown
