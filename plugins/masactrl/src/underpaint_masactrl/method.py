"""MasaCtrl: Tuning-Free Mutual Self-Attention Control (arXiv 2304.08465).

The edit is denoised beside its source, from the same noise. Its first steps draw the layout of its
own prompt. From step S and layer L on (eq. 4), its queries attend the source's keys and values in
the place of its own (eq. 3), so that it fills this layout with what the source shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field
from underpaint.errors import InvalidRequestError
from underpaint.layout import HALVES
from underpaint.method import Method, hookimpl
from underpaint.records import MAIN, AttentionEdit, Branch, Needs, Window
from underpaint.request import Request
from underpaint.sites import Sites
from underpaint.step import Step

SOURCE = "source"


class MasaCtrl(Method):
    """Change pose, size or layout, and keep what things look like (arXiv 2304.08465)."""

    method: ClassVar[str] = "masactrl"

    source: str = Field(min_length=1, description="What the source picture shows.")
    begin: float = Field(
        default=0.08,
        ge=0,
        le=1,
        description="S, as part of the noise range: before it the layout forms.",
    )
    layer: int | None = Field(
        default=None,
        ge=0,
        description="L, the first self-attention that is taken, counted from 0 in the UNet's "
        "order; left out: ten sixteenths of them, as in the paper.",
    )

    def first_layer(self, sites: Sites) -> int:
        """Return L for a model."""
        count = len(sites.of_kind("self"))
        if self.layer is not None and self.layer >= count:
            raise InvalidRequestError(
                f"masactrl: layer={self.layer}, but the model has {count} self-attentions. "
                f"Give 0 to {count - 1}."
            )
        return -(-10 * count // 16) if self.layer is None else self.layer

    def start(self) -> MasaCtrlRun:
        """Return the plugin of one run."""
        return MasaCtrlRun(self)


class MasaCtrlRun:
    """One run. It keeps nothing: each step's edit follows from the step alone."""

    def __init__(self, edit: MasaCtrl) -> None:
        self.edit = edit

    @hookimpl
    def needs(self, request: Request) -> Needs:
        """Write attention."""
        self.edit.first_layer(request.model.sites)  # a layer that is not there is told now
        return Needs(edits=True)

    @hookimpl
    def branches(self) -> Sequence[Branch]:
        """Denoise the source beside each image; of a real picture, along its inversion."""
        return [Branch(SOURCE, self.edit.source, real=True)]

    @hookimpl
    def attention_edits(self, step: Step) -> Sequence[AttentionEdit]:
        """``Attention(Q, K_s, V_s)`` from S and L on (eq. 3 and 4), in each half by itself.

        A source that follows a picture's path has no unconditional row: that half stays its own.
        """
        if step.move.kind != "denoise" or not Window(self.edit.begin).contains(step.progress):
            return []
        sites = step.run.request.model.sites
        taken = frozenset(
            site.name for site in sites.of_kind("self")[self.edit.first_layer(sites) :]
        )
        return [
            AttentionEdit(MAIN, SOURCE, half, self_k=taken, self_v=taken)
            for half in HALVES
            if step.layout.rows_of(MAIN, half) and step.layout.rows_of(SOURCE, half)
        ]
