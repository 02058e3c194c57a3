"""Tables of results: by method, and by method and type."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

from scipy.stats import binomtest

from benchmarks.picturebench.edit_types import EditType
from benchmarks.picturebench.expectations import ASPECTS
from benchmarks.picturebench.metrics_core import CORE_METRICS
from benchmarks.picturebench.metrics_paper import PAPER_METRICS
from benchmarks.picturebench.results_file import Line

SHARES = ("success", "edited", "kept", *ASPECTS)
"""Yes or no for each edit; null where nothing is claimed."""

VALUES = (*CORE_METRICS, *PAPER_METRICS)


@dataclass(frozen=True)
class Share:
    """So many of so many, with the 95 % interval of Wilson's score."""

    right: int
    of: int

    @property
    def value(self) -> float:
        """The part that is right."""
        return self.right / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        found = binomtest(self.right, self.of).proportion_ci(method="wilson")
        return float(found.low), float(found.high)


@dataclass(frozen=True)
class Mean:
    """A mean, and of how many: values that are null are left out and counted."""

    value: float
    of: int


@dataclass(frozen=True)
class Row:
    """The figures of some edits.

    Attributes
    ----------
    shares, means : by name; None where no edit has a value.
    unseen : success with combinations that no training scene shows.
    seconds : median, of those that were timed.
    errors, undefined : edits that were refused, and values that are null.
    """

    method: str
    told: str
    items: int
    shares: dict[str, Share | None]
    means: dict[str, Mean | None]
    unseen: Share | None
    seconds: float | None
    errors: int
    undefined: int


def summarise(lines: Sequence[Line]) -> list[Row]:
    """Return a row for each method, in the order in which they first come."""
    return [summarise_one(own) for own in grouped(lines, lambda line: line["method"]).values()]


def by_type(lines: Sequence[Line]) -> dict[str, dict[EditType, Row]]:
    """Return the figures of each method by type."""
    return {
        method: {
            EditType(kind): summarise_one(part)
            for kind, part in sorted(grouped(own, lambda line: line["type"]).items())
        }
        for method, own in grouped(lines, lambda line: line["method"]).items()
    }


def summarise_one(own: Sequence[Line]) -> Row:
    """Return the figures of one method's edits."""
    timed = [line["seconds"] for line in own if line.get("seconds") is not None]
    present = [name for name in VALUES if any(name in line for line in own)]
    nulls = sum(line.get(name) is None for line in own for name in present)
    return Row(
        method=own[0]["method"],
        told=own[0]["told"],
        items=len(own),
        shares={name: share(own, name) for name in SHARES},
        means={name: mean(own, name) for name in VALUES},
        unseen=share([line for line in own if line["unseen"]], "success"),
        seconds=median(timed) if timed else None,
        errors=sum(line.get("error") is not None for line in own),
        undefined=nulls,
    )


def share(lines: Iterable[Line], name: str) -> Share | None:
    """Return the share of yes; None where nobody says."""
    said = [line[name] for line in lines if line.get(name) is not None]
    return Share(sum(said), len(said)) if said else None


def mean(lines: Iterable[Line], name: str) -> Mean | None:
    """Return the mean of the values that are not null; None where all are."""
    known = [line[name] for line in lines if line.get(name) is not None]
    return Mean(fmean(known), len(known)) if known else None


def grouped(lines: Iterable[Line], key: Callable[[Line], Any]) -> dict[Any, list[Line]]:
    """Return the lines by key, in the order in which keys first come."""
    groups: dict[Any, list[Line]] = {}
    for line in lines:
        groups.setdefault(key(line), []).append(line)
    return groups
