"""``underpaint edit METHOD``."""

from __future__ import annotations

from underpaint.commands.answer import Answer, answer_files
from underpaint.commands.editing import picture_files
from underpaint.commands.files import check_folder, write_all
from underpaint.commands.method_app import Also, Prompts, Sheet, read_methods
from underpaint.commands.options import Loading, OutputFolder, Picture, RunTalk, Sampling
from underpaint.commands.progress import open_pipeline
from underpaint.method import Method

PICTURE, SAMPLE, LOADING, TALK = Picture(), Sampling(), Loading(), RunTalk()


def edit(
    method: Method,
    *,
    prompt: Prompts,
    output: OutputFolder,
    also: Also = None,
    sheet: Sheet = True,
    picture: Picture = PICTURE,
    sampling: Sampling = SAMPLE,
    loading: Loading = LOADING,
    talk: RunTalk = TALK,
) -> Answer:
    """Edit with one method, and write the pictures, a sheet and result.json into a folder."""
    check_folder(output)
    edits = [method, *read_methods(also)]
    with open_pipeline(loading, talk) as pipe:
        call = sampling.call(prompt) | picture.call() | {"edits": edits}
        files, data = picture_files(pipe, call, loading, talk, sheet)
    paths = {output / name: content for name, content in files.items()}
    write_all(paths)
    return answer_files(data, list(paths))
