"""Recording the words' attention maps of a run, and calling back after each step."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor

from underpaint.method import hookimpl
from underpaint.records import Needs, Prediction, Tap
from underpaint.request import Request
from underpaint.step import Step

WORD_MAPS = "core.word_maps"
"""Report name under which the recorder hands its maps over: ``{branch: [L, side, side]}``."""


class AttentionRecorder:
    """Keeps the *edited* cross maps of the word level, mean over sites and heads."""

    def __init__(self, per_step: bool) -> None:
        self.per_step = per_step
        self.maps: dict[str, list[Tensor]] = {}

    @hookimpl
    def needs(self, request: Request) -> Needs:
        """Tap the word level."""
        return Needs(taps=(Tap(request.model.sites.words()),))

    @hookimpl(wrapper=True)
    def predict(self, step: Step) -> Generator[None, Prediction, Prediction]:
        """Keep the maps of this step."""
        prediction = yield
        if prediction.maps is not None:
            words = prediction.maps.select(step.run.request.model.sites.words())
            edited = words.with_edits(step.edits)
            for branch in step.layout.branches:
                self.maps.setdefault(branch, []).append(edited.words(branch))
        return prediction

    @hookimpl
    def after_step(self, step: Step) -> None:
        """Hand the maps over after the last step."""
        if step.index == len(step.run.moves) - 1 and self.maps:
            by_branch = {
                name: torch.stack(maps, 2) if self.per_step else torch.stack(maps).mean(0)
                for name, maps in self.maps.items()
            }  # [I, L, S, side, side] or [I, L, side, side]
            images = range(step.layout.images)
            step.run.report(
                WORD_MAPS,
                [
                    {
                        name: maps[i].transpose(0, 1) if self.per_step else maps[i]
                        for name, maps in by_branch.items()
                    }
                    for i in images
                ],
            )


StepCallback = Callable[[Any, int, int, dict[str, Tensor]], dict[str, Tensor] | None]


class CallbackOnStepEnd:
    """diffusers' ``callback_on_step_end``: outermost around `advance`.

    The callback gets ``(pipe, step_index, timestep, {"latents": latents})``, latents of all
    trajectories ``[T, C, h, w]``; latents in the dict that it returns take their place.
    """

    def __init__(self, pipe: object, callback: StepCallback) -> None:
        self.pipe = pipe
        self.callback = callback

    @hookimpl(wrapper=True, tryfirst=True)
    def advance(self, step: Step) -> Generator[None, Tensor, Tensor]:
        """Call back with the latents that every edit has seen."""
        latents = yield
        returned = self.callback(self.pipe, step.index, step.move.t, {"latents": latents})
        return (returned or {}).get("latents", latents)
