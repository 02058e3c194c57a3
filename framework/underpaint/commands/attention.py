"""``underpaint attention``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from underpaint.commands.answer import Answer, answer_files
from underpaint.commands.files import check_picture, encode, numbered, write_all
from underpaint.commands.options import OUTPUT, Loading, OutputFile, RunTalk, Sampling
from underpaint.commands.outcome import describe, run
from underpaint.commands.progress import open_pipeline

if TYPE_CHECKING:
    from PIL.Image import Image

    from underpaint.result import Result

SAMPLING, LOADING, TALK = Sampling(), Loading(), RunTalk()

WORDS_IN_LINE, STEPS_IN_LINE = 4, 5
"""How many small pictures stand side by side."""


def attention(
    prompt: Annotated[str, Parameter(help="What the image shows.")],
    /,
    *,
    output: OutputFile,
    word: Annotated[
        list[str] | None,
        Parameter(
            group=OUTPUT, negative=(), help="A word or phrase to show; repeatable. All if left out."
        ),
    ] = None,
    per_step: Annotated[
        bool, Parameter(group=OUTPUT, negative=(), help="Show how the maps settle over the steps.")
    ] = False,
    sampling: Sampling = SAMPLING,
    loading: Loading = LOADING,
    talk: RunTalk = TALK,
) -> Answer:
    """Show where the model looks for each word of a prompt."""
    check_picture(output)
    with open_pipeline(loading, talk) as pipe:
        tokens = pipe.engine.tokenize([prompt])[0]
        for asked in word or ():
            tokens.find(asked)  # before the work, not after it
        call = sampling.call([prompt])
        times = talk.times()
        more = {"record_attention": True, "attention_per_step": per_step, "trace_hooks": times}
        result = run(pipe, "Generating", call, talk, **more)
        words = word or list(result.attention)
        sheets = [draw_maps(result, index, words, per_step) for index in range(len(result.images))]
        files = numbered(output, len(sheets))
        data = describe("attention", pipe, loading, result, files, times=times) | {"words": words}
    write_all(
        {
            file: encode(sheet, file, result.recipe)
            for file, sheet in zip(files, sheets, strict=True)
        }
    )
    return answer_files(data, files)


def draw_maps(result: Result, index: int, words: Sequence[str], per_step: bool) -> Image:
    """Return the sheet of one image: a map per word, or a row per word with some of the steps."""
    from underpaint.commands.captions import footer, seen_words
    from underpaint.sheet import grid_sheet, heat_map

    maps, picture = result.attention.image(index), result.images[index]
    cells, columns = [], WORDS_IN_LINE
    for word, values in seen_words(maps, words):
        if per_step:
            steps = choose_steps(len(values))
            columns = len(steps)
            cells += [(f"{word} · step {k + 1}", heat_map(picture, values[k])) for k in steps]
        else:
            cells.append((word, heat_map(picture, values)))
    prompt = [(text, False) for text in maps.tokens[maps.name][0].text.split()]
    return grid_sheet(picture, prompt, cells, min(columns, len(cells)), footer(result))


def choose_steps(steps: int) -> list[int]:
    """Return the indices of some steps, evenly spread, the first and the last among them."""
    shown = min(steps, STEPS_IN_LINE)
    return [round(k * (steps - 1) / max(shown - 1, 1)) for k in range(shown)]
