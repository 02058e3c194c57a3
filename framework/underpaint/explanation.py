"""What `underpaint.explaining.explain` says of a call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from underpaint.records import Heads, MoveKind


@dataclass(frozen=True)
class BranchPlan:
    """A branch: what it shows, its rows of the batch, and where its latents come from."""

    name: str
    prompts: tuple[str, ...]
    guidance_scale: float
    rows: tuple[str, ...]
    starts: str


@dataclass(frozen=True)
class TapPlan:
    """Readings that a plugin asked for, during a part of the noise range."""

    plugin: str
    sites: tuple[str, ...]
    heads: Heads
    during: tuple[float, float]


@dataclass(frozen=True)
class StepPlan:
    """One move, the plugins that act on it, and how often it asks the UNet."""

    index: int
    t: int
    next_t: int
    kind: MoveKind
    edits: tuple[str, ...] = ()
    guidance: tuple[str, ...] = ()
    evaluations: int = 0
    gradients: int = 0


@dataclass(frozen=True)
class Evaluations:
    """How often the UNet is asked, all runs together, and what is not counted.

    Attributes
    ----------
    inversion : for the call's picture; none if it was inverted before.
    edit : of the edit's runs; `gradients` of them also go back.
    tuning : the method that tunes along the picture's path, which is not counted; or None.
    may_add : plugins that wrap `predict`, and may ask again there, which is not counted.
    """

    inversion: int
    edit: int
    gradients: int
    tuning: str | None
    may_add: tuple[str, ...]


@dataclass(frozen=True)
class Explanation:
    """What a call would do.

    Attributes
    ----------
    engine : the one that would run it; `fallback` says why it is not the pipeline's own.
    variant : of its graph: ``plain``, or what is added to it; `because` names who asked for what.
    images, runs : of the call.
    rows : of the UNet's batch, in the largest run.
    branches, taps, steps : of one run.
    hooks : for each hook that is implemented the plugins in the order that values flow, each with
        what it does there: begins, adds, wraps, replaces, observes.
    evaluations : of the UNet.
    warnings : what the result would say already.
    """

    engine: str
    fallback: str | None
    variant: str
    because: Mapping[str, tuple[str, ...]]
    images: int
    runs: int
    rows: int
    branches: tuple[BranchPlan, ...]
    taps: tuple[TapPlan, ...]
    steps: tuple[StepPlan, ...]
    hooks: Mapping[str, Mapping[str, str]]
    evaluations: Evaluations
    warnings: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)
