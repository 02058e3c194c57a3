"""``underpaint invert``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from underpaint.commands.answer import Answer, answer_files
from underpaint.commands.files import check_folder
from underpaint.commands.hook_table import show_times
from underpaint.commands.options import OUTPUT, PICTURE, SAMPLING, Loading, RunTalk
from underpaint.commands.progress import open_pipeline, step_bars
from underpaint.fit import Fit

LOADING, TALK = Loading(), RunTalk()


def invert(
    image: Annotated[Path, Parameter(help="The picture.")],
    prompt: Annotated[str, Parameter(help="What it shows.")],
    /,
    *,
    output: Annotated[
        Path,
        Parameter(name=("--output", "-o"), group=OUTPUT, help="The file to write, .safetensors."),
    ],
    steps: Annotated[
        int | None, Parameter(group=SAMPLING, negative=(), help="As of the edits to come.")
    ] = None,
    refinements: Annotated[
        int, Parameter(group=PICTURE, negative=(), help="Fixed-point iterations of each step.")
    ] = 0,
    fit: Annotated[Fit, Parameter(group=PICTURE, help="Cut or pad to the model's frame.")] = "crop",
    height: Annotated[int | None, Parameter(group=SAMPLING, help="In pixels.")] = None,
    width: Annotated[int | None, Parameter(group=SAMPLING, help="In pixels.")] = None,
    loading: Loading = LOADING,
    talk: RunTalk = TALK,
) -> Answer:
    """Invert a picture to noise, for `underpaint edit ... --trajectory FILE`."""
    check_folder(output.parent)
    with open_pipeline(loading, talk) as pipe:
        times, started = talk.times(), time.perf_counter()
        total = steps or pipe.engine.info.num_inference_steps
        with step_bars(["Inverting the picture"], total, talk) as [callback]:
            path = pipe.invert(
                image,
                prompt,
                num_inference_steps=steps,
                refinements=refinements,
                fit=fit,
                height=height,
                width=width,
                callback_on_step_end=callback,
                trace_hooks=times,
            )
        show_times(times, time.perf_counter() - started, talk)
    path.save(output)
    data = {
        "command": "invert",
        "model": loading.source,
        "prompts": list(path.prompts),
        "made_by": path.made_by,
        "levels": list(path.levels),
        "files": [str(output)],
        **({} if times is None else {"hook_times": times.describe()}),
    }
    return answer_files(data, [output])
