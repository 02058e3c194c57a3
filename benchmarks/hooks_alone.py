"""What all hooks of one step cost when they are answered by constants."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from torch import Tensor
from underpaint import Method, Prediction, hookimpl
from underpaint.hooks import Hooks
from underpaint.layout import Layout
from underpaint.outputs import Outputs

REPEATS, CALLS = 100, 50


class Watcher:
    """Watches every step and does nothing."""

    @hookimpl
    def before_step(self) -> None:
        """Watch."""

    @hookimpl
    def after_step(self) -> None:
        """Watch."""


class Watching(Method):
    """The method of that plugin."""

    method: ClassVar[str] = "watching"

    def start(self) -> Watcher:
        """Return the plugin."""
        return Watcher()


class Still:
    """Replaces what core computes by constants, and so leaves the calls alone."""

    latents = torch.zeros(1, 4, 8, 8)
    outputs = Outputs(Layout.of(1, ["main"], []), latents, latents)
    prediction = Prediction(latents, 0.5, latents, latents, outputs)

    @hookimpl
    def combine(self) -> Tensor:
        """Return the same noise always."""
        return self.latents

    @hookimpl
    def advance(self) -> Tensor:
        """Return the same latents always."""
        return self.latents


class Standing(Method):
    """The method of that plugin."""

    method: ClassVar[str] = "standing"

    def start(self) -> Still:
        """Return the plugin."""
        return Still()


def seconds_of_hooks(watchers: int) -> float:
    """Return the seconds that the hooks of a step take with so many watching plugins."""
    hooks = Hooks([Standing(), *[Watching()] * watchers])
    step: Any = SimpleNamespace(latents=Still.latents)

    def one_step() -> None:
        hooks.before_step(step)
        hooks.attention_edits(step)
        hooks.guidance(step)
        hooks.combine(step, None)  # type: ignore[arg-type]  # (no plugin looks at it)
        hooks.advance(step, Still.prediction)
        hooks.after_step(step, Still.latents)

    return min(_time(one_step) for _ in range(REPEATS))  # what is left when nothing else runs


def _time(function: Any) -> float:
    started = time.perf_counter()
    for _ in range(CALLS):
        function()
    return (time.perf_counter() - started) / CALLS
