"""One call of the pipeline from the command line, and the JSON that describes its result."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import underpaint
from underpaint.commands.hook_table import show_times
from underpaint.commands.options import Loading, RunTalk
from underpaint.commands.progress import step_bars, tell

if TYPE_CHECKING:
    from underpaint.hook_times import HookTimes
    from underpaint.pipeline import Pipeline
    from underpaint.result import Result


def run(pipe: Pipeline, label: str, call: Mapping[str, Any], talk: RunTalk, **more: Any) -> Result:
    """Call the pipeline with a bar of steps, and pass its warnings and its hooks' times on."""
    steps = call["num_inference_steps"] or pipe.engine.info.num_inference_steps
    labels = [label, "Inverting the picture", "Tuning its embeddings"]
    with step_bars(labels, steps, talk) as (callback, inverting, tuning):
        result = pipe(
            **{**call, **more},
            callback_on_step_end=callback,
            callback_on_inversion_step_end=inverting,
            callback_on_tuning_step_end=tuning,
        )
    for warning in result.warnings:
        tell(f"Warning: {warning}", talk)
    show_times(more.get("trace_hooks"), result.timings.total, talk)
    return result


def describe(
    command: str,
    pipe: Pipeline,
    loading: Loading,
    result: Result,
    files: Sequence[Path],
    *,
    times: HookTimes | None = None,
) -> dict[str, Any]:
    """Return what result.json holds; its recipe reproduces the images."""
    info = pipe.engine.info
    return {
        "command": command,
        "underpaint": underpaint.__version__,
        "model": {"name": info.name, "digest": info.digest, "source": loading.source},
        "engine": pipe.engine.name,
        "dtype": result.recipe["dtype"],
        "device": str(pipe.engine.device),
        "seeds": list(result.seeds),
        "files": [file.name for file in files],
        "timings": {
            "total": result.timings.total,
            "prepare": result.timings.prepare,
            "steps": list(result.timings.steps),
            "decode": result.timings.decode,
        },
        "pictures": [p.describe() for p in result.image.placements] if result.image else [],
        "warnings": list(result.warnings),
        "reports": {name: value for name, value in result.reports.items() if _is_json(value)},
        "recipe": result.recipe,
        **({} if times is None else {"hook_times": times.describe()}),
    }


def _is_json(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
