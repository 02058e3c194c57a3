"""From the ends of all runs to one result."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, cast

import torch
from torch import Tensor

from underpaint.images import OutputType, convert
from underpaint.loop import Denoised
from underpaint.planning import Plan
from underpaint.recorder import WORD_MAPS
from underpaint.records import MAIN
from underpaint.result import Result, Timings, WordMaps
from underpaint.run import Run


@dataclass(frozen=True, eq=False)
class Part:
    """One finished run."""

    run: Run
    end: Denoised

    def latents(self, branch: str) -> Tensor:
        """Return the final latents of a branch, ``[I, C, h, w]``."""
        return self.end.latents[self.run.layout.trajectories_of(branch)]

    def pictures(self, branch: str) -> Tensor:
        """Return the images of a branch, or its latents where nothing was decoded."""
        if self.end.images is None:
            return self.latents(branch)
        return self.end.images[self.run.layout.trajectories_of(branch)]


def assemble(plan: Plan, parts: Sequence[Part], output_type: OutputType, started: float) -> Result:
    """Join the runs of a request, in image order, and ask the `result` hook."""
    pictures = {
        branch.name: convert(torch.cat([p.pictures(branch.name) for p in parts]), output_type)
        for branch in plan.branches
    }
    reports = _join_reports(parts)
    recorded = reports.pop(WORD_MAPS, None)
    result = Result(
        images=pictures.pop(MAIN),
        branches=pictures,
        latents=torch.cat([part.latents(MAIN) for part in parts]),
        seeds=plan.request.seeds,
        timings=_add_timings(parts),
        warnings=tuple(dict.fromkeys(chain(plan.warnings, *(part.run.warnings for part in parts)))),
        recipe=plan.recipe,
        image=plan.request.image,
        trajectory=plan.request.trajectory,
        reports=reports,
        word_maps=None if recorded is None else _word_maps(plan, parts, recorded),
    )
    try:
        result = plan.hooks.result(plan.request, result)
    except Exception as error:
        plan.hooks.annotate(error, "with all images done")
        raise
    total = time.perf_counter() - started
    return replace(result, timings=replace(result.timings, total=total))


def _join_reports(parts: Sequence[Part]) -> dict[str, list[object]]:
    names = dict.fromkeys(chain.from_iterable(part.run.reports for part in parts))
    return {name: [value for part in parts for value in part.run.reports[name]] for name in names}


def _add_timings(parts: Sequence[Part]) -> Timings:
    """Add up the runs step by step; a split request takes its steps once per run."""
    steps = [sum(seconds) for seconds in zip(*(p.end.steps for p in parts), strict=True)]
    return Timings(
        total=0.0,
        prepare=sum(part.end.prepare for part in parts),
        steps=tuple(steps),
        decode=sum(part.end.decode for part in parts),
    )


def _word_maps(plan: Plan, parts: Sequence[Part], recorded: Sequence[object]) -> WordMaps:
    by_image = cast("Sequence[dict[str, Any]]", recorded)
    names = [branch.name for branch in plan.branches]
    return WordMaps(
        values={name: [maps[name] for maps in by_image] for name in names},
        tokens={
            name: [token for part in parts for token in part.run.tokens(part.run.prompts(name))]
            for name in names
        },
    )
