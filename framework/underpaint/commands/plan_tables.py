"""An explanation as a person reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from underpaint.explanation import Evaluations, Explanation, StepPlan


def tables(found: Explanation) -> Iterator[RenderableType]:
    """Yield the lines and tables of an explanation."""
    reasons = [f"{what}: {', '.join(names)}" for what, names in found.because.items()]
    yield f"Engine: {found.engine}, {found.variant}" + (
        f" ({'; '.join(reasons)})" if reasons else ""
    )
    yield from (f"Warning: {warning}" for warning in found.warnings)
    yield f"\nImages: {found.images}, runs: {found.runs}, rows of a batch: {found.rows}"
    yield _branches(found)
    if found.taps:
        yield _taps(found)
    yield f"\n{_moves(found.steps)}"
    yield _acts(found.steps)
    yield _hooks(found)
    yield f"\nUNet: {_evaluations(found.evaluations)}"


def _branches(found: Explanation) -> Table:
    table = Table("branch", "shows", "guidance", "rows of an image", "starts from", box=None)
    for branch in found.branches:
        shows = " | ".join(dict.fromkeys(branch.prompts))
        scale = f"{branch.guidance_scale:g}"
        table.add_row(branch.name, shows, scale, ", ".join(branch.rows), branch.starts)
    return table


def _taps(found: Explanation) -> Table:
    table = Table("reads", "sites", "heads", "during", box=None)
    for tap in found.taps:
        start, end = tap.during
        table.add_row(tap.plugin, "\n".join(tap.sites), tap.heads, f"{start:g} to {end:g}")
    return table


def _moves(steps: Sequence[StepPlan]) -> str:
    parts = [
        f"{len(group)} {kind} from {group[0].t} to {group[-1].next_t}"
        for kind, group in ((k, list(g)) for k, g in groupby(steps, lambda step: step.kind))
    ]
    return f"Moves: {', then '.join(parts)}"


def _acts(steps: Sequence[StepPlan]) -> Table:
    table = Table("plugin", "acts by", "at steps", box=None)
    for hook in ("edits", "guidance"):
        names = dict.fromkeys(name for step in steps for name in getattr(step, hook))
        for name in names:
            own = [step.index for step in steps if name in getattr(step, hook)]
            table.add_row(name, "attention edits" if hook == "edits" else hook, spans(own))
    return table


def _hooks(found: Explanation) -> Table:
    table = Table("hook", "in order", box=None)
    for hook, roles in found.hooks.items():
        table.add_row(hook, " -> ".join(f"{name} {role}" for name, role in roles.items()))
    return table


def _evaluations(count: Evaluations) -> str:
    parts = [f"{count.edit} evaluations ({count.gradients} with a gradient)"]
    if count.inversion:
        parts.append(f"{count.inversion} for the picture's inversion, unless it is kept already")
    if count.tuning:
        parts.append(f"and what {count.tuning} takes to tune along its path")
    if count.may_add:
        parts.append(f"and what {', '.join(count.may_add)} may ask for inside of `predict`")
    return ", ".join(parts)


def spans(numbers: Iterable[int]) -> str:
    """Return ascending numbers as spans: ``0-3, 7``."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(f"{s[0]}-{s[-1]}" if len(s) > 1 else str(s[0]) for s in found)
