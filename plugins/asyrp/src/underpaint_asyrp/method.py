"""Asyrp: diffusion models already have a semantic latent space (arXiv 2210.10960).

DDIM's step is ``x_p = sqrt(a_p) P(e) + D(e)``: the predicted picture P, and the direction D back to
the noise. A change of e in both nearly cancels out. Asyrp changes P alone: P takes the e~ of a
second evaluation, whose mid block is moved by ``delta_h = f_t(h)``, and D keeps e (eq. 5).
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import replace
from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor
from underpaint.errors import InvalidRequestError
from underpaint.method import Method, hookimpl
from underpaint.records import Conditioning, Move, Needs, Prediction
from underpaint.request import Request
from underpaint.run import Run
from underpaint.step import Step

from underpaint_asyrp.attribute import Attribute
from underpaint_asyrp.process import (
    Halves,
    chosen_halves,
    edit_window,
    guide_edit_alone,
    hidden_delta,
    keep_direction,
    shift_x0,
    tap_hidden,
)


class Asyrp(Method):
    """Move pictures along attributes such as night, trained in h-space (arXiv 2210.10960).

    Experimental: in a latent diffusion model the skip connections carry much of the picture, so h
    alone does less than in the paper's pixel models.
    """

    method: ClassVar[str] = "asyrp"

    attributes: dict[str, float] = Field(
        min_length=1,
        description="Strength of each attribute, by its name or file: 1 is as trained, below 0 "
        "the other way.",
    )
    t_edit: int | None = Field(
        default=None,
        ge=0,
        description="Least timestep that is edited; left out, each attribute's own.",
    )
    t_boost: int | None = Field(
        default=None,
        ge=0,
        description="Timestep below which steps add fresh noise; left out, the attributes' own.",
    )
    halves: Halves | None = Field(
        default=None,
        description="Whose h is moved: cond, or both halves of guidance; left out, as trained.",
    )

    def start(self) -> AsyrpRun:
        """Return the plugin of one run."""
        return AsyrpRun(self)


class AsyrpRun:
    """One run: its attributes, loaded when they are first needed."""

    def __init__(self, edit: Asyrp) -> None:
        self.edit = edit

    @cached_property
    def attributes(self) -> list[tuple[Attribute, float]]:
        """The attributes with a strength other than zero, and that strength."""
        strengths = self.edit.attributes.items()
        return [(Attribute.load(name), strength) for name, strength in strengths if strength]

    @cached_property
    def halves(self) -> Halves:
        """Whose h is moved."""
        if self.edit.halves is not None:
            return self.edit.halves
        trained: set[Halves] = {attribute.facts.halves for attribute, _ in self.attributes}
        if len(trained) > 1:
            raise InvalidRequestError(
                "The attributes were trained for different halves of guidance: give "
                "halves='cond' or halves='both'."
            )
        return next(iter(trained), "cond")

    @hookimpl
    def needs(self, request: Request) -> Needs:
        """Read h while there is something to add to it; start from a picture, if there is one."""
        for name in self.edit.attributes:
            Attribute.load(name).check(name, request.model)
        noise = request.model.noise
        taps = tuple(
            tap_hidden(edit_window(noise, self._t_edit(attribute)))
            for attribute, _ in self.attributes
        )
        return Needs(taps=taps, hidden_delta=bool(taps), inversion=True)

    @hookimpl(wrapper=True)
    def schedule(self) -> Generator[None, tuple[Move, ...], tuple[Move, ...]]:
        """Quality boosting (section 3.4): below t_boost the steps are DDPM's."""
        moves = yield
        if not self.attributes:
            return moves
        own = max(attribute.facts.t_boost for attribute, _ in self.attributes)
        t_boost = own if self.edit.t_boost is None else self.edit.t_boost
        return tuple(
            replace(move, eta=1.0) if move.kind == "denoise" and move.t < t_boost else move
            for move in moves
        )

    @hookimpl(wrapper=True)
    def conditioning(self, run: Run) -> Generator[None, Conditioning, Conditioning]:
        """Of a real picture, guide the edit alone."""
        conditioning = yield
        return guide_edit_alone(run, conditioning)

    @hookimpl(wrapper=True)
    def predict(self, step: Step) -> Generator[None, Prediction, Prediction]:
        """Shift the predicted picture alone, while ``t >= t_edit`` (eq. 5)."""
        prediction = yield
        active = self._active(step)
        if step.move.kind != "denoise" or not active:
            return prediction

        def direction(hidden: Tensor) -> Tensor:
            return _sum(active, hidden, step.move.t) / math.sqrt(len(self.attributes))

        halves = chosen_halves(self.halves)
        rows = step.layout.subset(None, halves)
        moved = step.evaluate(
            sample=prediction.sample,
            halves=halves,
            hidden_delta=hidden_delta(step, prediction, rows, direction),
            taps=(),
        )
        return keep_direction(step, shift_x0(step, prediction, moved))

    def _active(self, step: Step) -> list[tuple[Attribute, float]]:
        """Return the attributes that are edited at this step, and their coefficients.

        The shift adds up over the steps: with more of them than in training, each does less.
        """
        request = step.run.request
        return [
            (
                attribute,
                strength * attribute.facts.num_inference_steps / request.num_inference_steps,
            )
            for attribute, strength in self.attributes
            if edit_window(request.model.noise, self._t_edit(attribute)).contains(step.progress)
        ]

    def _t_edit(self, attribute: Attribute) -> int:
        return attribute.facts.t_edit if self.edit.t_edit is None else self.edit.t_edit


def _sum(active: list[tuple[Attribute, float]], hidden: Tensor, t: int) -> Tensor:
    deltas = [c * attribute.direction.to(hidden.device)(hidden, t) for attribute, c in active]
    return torch.stack(deltas).sum(0)
