"""What a plugin author writes: a frozen description of an edit that starts one instance a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pluggy
from pydantic import BaseModel, ConfigDict

PROJECT = "underpaint"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Method(BaseModel):
    """Base of every edit: pydantic parameters, frozen and reusable in many calls.

    A subclass names itself (`method`, the name of its entry point), declares its parameters as
    pydantic fields (they become command-line flags and the recipe), and returns from `start` a
    fresh object whose methods, marked ``@underpaint.hookimpl``, implement hooks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    method: ClassVar[str]

    def start(self) -> object:
        """Return the plugin of one run; its attributes are that run's state."""
        raise NotImplementedError(f"{type(self).__name__}.start")

    def tuning(self) -> Method | None:
        """Return what is to run once along a picture's path before this edit, or None.

        That run denoises the picture alone, from the path's noise, with the path's prompt and the
        call's guidance. The embeddings that it reports as `underpaint.tuning.TUNED` are kept in
        the trajectory, where this edit finds them (``run.request.trajectory.tuned``).
        """
        return None

    def inverting(self) -> Sequence[Method]:
        """Return the methods that take part while the call's picture is inverted; none by default.

        They are edits of the inversion's own run, whose moves are of kind ``invert``.
        """
        return ()

    def describe(self) -> dict[str, Any]:
        """Return the JSON form of the edit: its method and its parameters."""
        return {"method": self.method, **self.model_dump(mode="json")}
