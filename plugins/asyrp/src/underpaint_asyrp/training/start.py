"""The window of a training, measured on its own pictures."""

from __future__ import annotations

from typing import Any

from underpaint.pipeline import Pipeline

from underpaint_asyrp.training.plan import Case, Plan
from underpaint_asyrp.window import measure_curves


def measure_window(pipe: Pipeline, plan: Plan, pictures: int) -> dict[str, int]:
    """Return `t_edit` and `t_boost`, measured on the first pictures of a plan.

    Raises
    ------
    NotOfferedError
        If the model has no scorer.
    """
    cases = plan.cases()[:pictures]
    curves = measure_curves(
        pipe,
        [case.image for case in cases if case.image] or _generate(pipe, plan, cases),
        [case.source for case in cases],
        target=cases[0].target,
        num_inference_steps=plan.num_inference_steps,
    )
    return {"t_edit": curves.t_edit(), "t_boost": curves.t_boost()}


def _generate(pipe: Pipeline, plan: Plan, cases: list[Case]) -> list[Any]:
    made = pipe(
        [case.source for case in cases],
        seed=[case.seed for case in cases],
        num_inference_steps=plan.num_inference_steps,
        guidance_scale=plan.guidance_scale,
        output_type="pt",
    )
    return list(made.images)
