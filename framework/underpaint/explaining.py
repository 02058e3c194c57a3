"""What a call would do, before it does it: the plan, the schedule and who acts when.

Everything comes from the functions that a real run goes through (`Plan.make`, `rehearsal`); the
UNet is not asked. A picture is not inverted either: an empty path stands in the place of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from underpaint.call import make_request
from underpaint.explanation import BranchPlan, Evaluations, Explanation, StepPlan, TapPlan
from underpaint.guidance import Guidance
from underpaint.hooks import Hooks
from underpaint.layout import HALVES
from underpaint.pipeline import Pipeline
from underpaint.planning import Plan
from underpaint.registration import SPECIFICATIONS
from underpaint.rehearsal import look_ahead, prepare
from underpaint.request import Request
from underpaint.run import Run
from underpaint.step import Step
from underpaint.through import split_rows, through_of
from underpaint.trajectory import Trajectory
from underpaint.tuning import tuning_edit


def explain(pipe: Pipeline, *, record_attention: bool | None = None, **call: Any) -> Explanation:
    """Explain a call of the pipeline; `call` holds its arguments.

    Raises
    ------
    UnderpaintError
        What the call itself would raise before the UNet is asked: conflicts that name both
        plugins, sites that are not there, values that cannot be used.
    """
    request = make_request(pipe.engine.info, **call)
    plan = Plan.make(request, pipe.engine, record_attention)
    warnings, inversion = plan.warnings, plan.inversion()
    if inversion is not None:
        plan = plan.along(empty_path(inversion))
    runs = list(plan.runs(pipe.scorer, pipe.max_rows))
    run, hooks = runs[0], plan.hooks_of_run(())
    try:
        prepare(run, hooks)
        steps = _steps(run, hooks)
    except Exception as error:
        hooks.annotate(error, "while the run was planned")
        raise
    because = _because(plan)
    return Explanation(
        engine=plan.engine.name,
        fallback=None if plan.engine is pipe.engine else warnings[0],
        variant=" + ".join(because) or "plain",
        because=because,
        images=request.images,
        runs=len(runs),
        rows=len(run.layout.rows),
        branches=tuple(_branch(run, branch) for branch in run.layout.branches),
        taps=tuple(_taps(plan, request)),
        steps=steps,
        hooks={name: roles for name in SPECIFICATIONS if (roles := hooks.roles(name))},
        evaluations=_evaluations(plan, inversion, steps, len(runs), hooks),
        warnings=(*warnings, *run.warnings),
    )


def empty_path(inversion: Request) -> Trajectory:
    """Return a path like that of an inversion, its latents all zero."""
    model = inversion.model
    moves = model.noise.moves(inversion.num_inference_steps, inversion.timestep_spacing, 0.0)
    levels = (moves[0].t, *(move.next_t for move in moves))
    pivots = torch.zeros(len(levels), inversion.images, *inversion.latent_shape)
    return Trajectory(levels, pivots, inversion.prompts, "plan", model.digest)


def _steps(run: Run, hooks: Hooks) -> tuple[StepPlan, ...]:
    asked = {step.index: step for step in look_ahead(run, hooks)}
    return tuple(
        _step(asked[index], hooks)
        if index in asked
        else StepPlan(index, move.t, move.next_t, move.kind)
        for index, move in enumerate(run.moves)
    )


def _step(step: Step, hooks: Hooks) -> StepPlan:
    guidances = hooks.guidance(step)
    moving = [each for each in guidances if each.into == "latents"]
    steering = [each for each in guidances if each.into == "noise"]
    descents = [_descent(step, group) for group in (moving, steering) if group]
    return StepPlan(
        index=step.index,
        t=step.move.t,
        next_t=step.move.next_t,
        kind=step.move.kind,
        edits=hooks.editors(step),
        guidance=tuple(dict.fromkeys(each.plugin for each in guidances)),
        evaluations=sum(calls for calls, _ in descents) + (0 if steering else 1),
        gradients=sum(gradients for _, gradients in descents),
    )


def _descent(step: Step, guidances: Sequence[Guidance]) -> tuple[int, int]:
    """Return the evaluations of one gradient, and how many of them go back."""
    near, far = split_rows(step, through_of(guidances))
    return bool(near) + bool(far), int(bool(near))


def _because(plan: Plan) -> dict[str, tuple[str, ...]]:
    asked = {
        "edited": {name for name, needs in plan.needs_of.items() if needs.edits},
        "hidden delta": {name for name, needs in plan.needs_of.items() if needs.hidden_delta},
        "cross bias": {name for name, needs in plan.needs_of.items() if needs.cross_bias},
        "taps": {name for name, needs in plan.needs_of.items() if needs.taps},
        "gradient": {name for name, needs in plan.needs_of.items() if needs.gradient},
    }
    return {what: tuple(sorted(names)) for what, names in asked.items() if names}


def _branch(run: Run, name: str) -> BranchPlan:
    branch = run.branch(name)
    path = branch.trajectory or run.request.trajectory
    starts = "its noise" if path is None else f"a path ({path.made_by})"
    return BranchPlan(
        name=name,
        prompts=run.prompts(name),
        guidance_scale=run.guidance_scale(name),
        rows=tuple(half for half in HALVES if run.layout.rows_of(name, half)),
        starts=f"{starts}, which it follows" if branch.follow else starts,
    )


def _taps(plan: Plan, request: Request) -> list[TapPlan]:
    sites = request.model.sites
    return [
        TapPlan(
            name,
            tuple(site.name for site in sites.select(tap.selector)),
            tap.heads,
            (tap.during.start, tap.during.end),
        )
        for name, needs in plan.needs_of.items()
        for tap in needs.taps
    ]


def _evaluations(
    plan: Plan, inversion: Request | None, steps: Sequence[StepPlan], runs: int, hooks: Hooks
) -> Evaluations:
    request = plan.request
    tuning = tuning_edit(request.edits)
    wrapping = [name for name, role in hooks.roles("predict").items() if role == "wraps"]
    return Evaluations(
        inversion=0
        if inversion is None
        else inversion.num_inference_steps * (1 + inversion.refinements),
        edit=runs * sum(step.evaluations for step in steps),
        gradients=runs * sum(step.gradients for step in steps),
        tuning=None if tuning is None or request.trajectory is None else tuning.method,
        may_add=tuple(name for name in wrapping if not name.startswith("core.")),
    )
