"""ProxEdit: proximal guidance for edits of real pictures (arXiv 2306.05414).

Negative-prompt inversion leaves a small difference between the two predictions even where nothing
is to change, and guidance scales it. A proximal operator sets what is small to zero:
``e = e_u + w prox(e_c - e_u)`` (eq. 5). Outside of what is left, inversion guidance draws the
latent back to the picture's path.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from underpaint.method import Method, hookimpl
from underpaint.outputs import Outputs
from underpaint.records import Conditioning, Needs, Window
from underpaint.run import Run
from underpaint.step import Step

from underpaint_inversion.negative_prompt import NegativePromptRun, path_of

Prox = Literal["l0", "l1"]


class InversionGuidance(BaseModel):
    """Draw the latent to the picture's path where nothing is edited."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strength: float = Field(1.0, ge=0, le=1, description="1 puts it on the path, 0 leaves it.")
    start: float = Field(
        0.6, ge=0, le=1, description="Part of the noise range from which on it is drawn."
    )
    radius: int = Field(
        1, ge=0, le=32, description="Cells by which what is edited grows before the rest is drawn."
    )


class ProxEdit(Method):
    """Guide where the prompts differ, on negative-prompt inversion (arXiv 2306.05414)."""

    method: ClassVar[str] = "proxedit"

    prox: Prox = Field(
        "l0", description="l0 keeps what is larger than the threshold, l1 also shrinks it."
    )
    quantile: float = Field(
        0.7,
        ge=0,
        lt=1,
        description="Part of each image's differences that is set to zero; 0 keeps all.",
    )
    interpolation: float = Field(
        1.0, ge=0, le=1, description="As of negative-prompt inversion: 1 is the source prompt."
    )
    inversion_guidance: InversionGuidance | None = Field(
        None, description="Draw what is not edited to the picture's path."
    )
    official_quirks: bool = Field(
        False,
        description="Threshold as the published code does: one for all branches together, l0 "
        "coded as l1, l1 shrunk twice, and what exceeds it twice counts as edited.",
    )

    def start(self) -> ProxEditRun:
        """Return the plugin of one run."""
        return ProxEditRun(self)


class ProxEditRun:
    """One run: what was edited at this step, for inversion guidance."""

    def __init__(self, edit: ProxEdit) -> None:
        self.edit = edit
        self.negative = NegativePromptRun(edit.method, edit.interpolation)
        self.edited: dict[str, Tensor] = {}

    @hookimpl
    def needs(self) -> Needs:
        """Start from the inverted picture."""
        return self.negative.needs()

    @hookimpl(wrapper=True)
    def conditioning(self, run: Run) -> Generator[None, Conditioning, Conditioning]:
        """Take the source prompt as the negative one."""
        return (yield from self.negative.conditioning(run))

    @hookimpl(wrapper=True)
    def combine(self, step: Step, outputs: Outputs) -> Generator[None, Tensor, Tensor]:
        """``e_u + w prox(D)`` in place of ``e_u + w D`` (eq. 5)."""
        noise = yield
        differences = {
            branch: outputs.of(branch, "cond") - outputs.of(branch, "uncond")
            for branch in step.layout.branches
            if outputs.layout.rows_of(branch, "uncond")
        }
        thresholds = self._thresholds(step, differences) if differences else {}
        for branch, difference in differences.items():
            threshold = thresholds[branch]
            kept = self._prox(difference, threshold)
            large = kept if self.edit.official_quirks else difference
            self.edited[branch] = (large.detach().abs() > threshold).any(1, keepdim=True)
            place = step.layout.trajectories_of(branch)
            change = step.run.guidance_scale(branch) * (kept - difference)
            noise = noise.index_add(0, torch.tensor(place, device=noise.device), change)
        return noise

    @hookimpl(wrapper=True)
    def advance(self, step: Step) -> Generator[None, Tensor, Tensor]:
        """Inversion guidance (section 3.3): go towards the path where nothing is edited."""
        latents = yield
        guidance = self.edit.inversion_guidance
        if guidance is None or not Window(guidance.start, 1.0).contains(step.progress):
            return latents
        pivots = path_of(step.run, self.edit.method).at(step.move.next_t).to(latents)
        drawn = latents.clone()
        for branch, edited in self.edited.items():
            place = step.layout.trajectories_of(branch)
            around = F.max_pool2d(edited.to(latents), 2 * guidance.radius + 1, 1, guidance.radius)
            drawn[place] += guidance.strength * (1 - around) * (pivots - latents[place])
        return drawn

    def _prox(self, difference: Tensor, threshold: Tensor) -> Tensor:
        shrunk = difference.sign() * (difference.abs() - threshold).clamp(min=0)
        if not self.edit.official_quirks:
            if self.edit.prox == "l1":
                return shrunk
            return torch.where(difference.abs() > threshold, difference, 0)
        if self.edit.prox == "l0":
            return shrunk
        return shrunk.sign() * (shrunk.abs() - threshold).clamp(min=0)

    def _thresholds(self, step: Step, differences: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return lambda of each branch: the quantile of ``|D|``, ``[I, 1, 1, 1]``."""
        quantile = self.edit.quantile
        if not self.edit.official_quirks:
            return {name: _quantile(value, quantile) for name, value in differences.items()}
        # The source's difference, which is zero, counts as well.
        absent = len(step.layout.branches) - len(differences)
        zeros = [torch.zeros_like(next(iter(differences.values())))] * absent
        pooled = torch.stack([*differences.values(), *zeros]).flatten()[None]
        return dict.fromkeys(differences, _quantile(pooled, quantile))


def _quantile(difference: Tensor, quantile: float) -> Tensor:
    sizes = difference.detach().abs().flatten(1)
    if not quantile:
        return sizes.new_zeros(len(sizes), 1, 1, 1)
    return torch.quantile(sizes, quantile, dim=1).reshape(-1, 1, 1, 1)
