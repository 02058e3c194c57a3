"""``underpaint plan METHOD``: what ``underpaint edit METHOD`` would do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from underpaint.commands.answer import Answer, answer_table
from underpaint.commands.method_app import Also, Prompts, Sheet, read_methods
from underpaint.commands.options import OUTPUT, Loading, Picture, Sampling, Talk
from underpaint.commands.plan_tables import tables
from underpaint.commands.progress import open_pipeline
from underpaint.method import Method

PICTURE, SAMPLE, LOADING, TALK = Picture(), Sampling(), Loading(), Talk()


def plan(
    method: Method,
    *,
    prompt: Prompts,
    output: Annotated[
        Path | None,
        Parameter(
            name=("--output", "-o"), group=OUTPUT, help="As of `edit`; nothing is written into it."
        ),
    ] = None,
    also: Also = None,
    sheet: Sheet = True,
    picture: Picture = PICTURE,
    sampling: Sampling = SAMPLE,
    loading: Loading = LOADING,
    talk: Talk = TALK,
) -> Answer:
    """Explain what `underpaint edit` would do with these arguments, without running the UNet."""
    from underpaint.explaining import explain

    del output
    edits = [method, *read_methods(also)]
    with open_pipeline(loading, talk) as pipe:
        call = sampling.call(prompt) | picture.call() | {"edits": edits}
        explained = explain(pipe, record_attention=True if sheet else None, **call)
    return answer_table(explained.describe(), *tables(explained))
