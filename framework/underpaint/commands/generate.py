"""``underpaint generate``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from underpaint.commands.answer import Answer, answer_files
from underpaint.commands.files import check_picture, encode, numbered, write_all
from underpaint.commands.options import Loading, OutputFile, RunTalk, Sampling
from underpaint.commands.outcome import describe, run
from underpaint.commands.progress import open_pipeline

SAMPLING, LOADING, TALK = Sampling(), Loading(), RunTalk()


def generate(
    prompt: Annotated[
        list[str],
        Parameter(negative=(), help="What the image shows; several make several images."),
    ],
    /,
    *,
    output: OutputFile,
    sampling: Sampling = SAMPLING,
    loading: Loading = LOADING,
    talk: RunTalk = TALK,
) -> Answer:
    """Generate images from a prompt."""
    check_picture(output)
    with open_pipeline(loading, talk) as pipe:
        times = talk.times()
        result = run(pipe, "Generating", sampling.call(prompt), talk, trace_hooks=times)
        files = numbered(output, len(result.images))
        pictures = [
            encode(image, file, result.recipe)
            for image, file in zip(result.images, files, strict=True)
        ]
        data = describe("generate", pipe, loading, result, files, times=times)
    write_all(dict(zip(files, pictures, strict=True)))
    return answer_files(data, files)
