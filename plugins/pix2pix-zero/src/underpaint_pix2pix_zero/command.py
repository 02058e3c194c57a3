"""``underpaint pix2pix-zero direction`` and ``underpaint pix2pix-zero sentences``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Group, Parameter
from underpaint.commands.answer import Answer, answer_files
from underpaint.commands.files import check_folder
from underpaint.commands.options import OUTPUT, JsonFlag, Loading, Talk
from underpaint.commands.progress import open_pipeline, step_bars, tell
from underpaint.errors import InvalidRequestError

from underpaint_pix2pix_zero.sentences import TEMPLATES, fill, read_sentences

if TYPE_CHECKING:
    from torch import Tensor
    from underpaint.pipeline import Pipeline

    from underpaint_pix2pix_zero.direction import Direction

pix2pix_zero = App(name="pix2pix-zero", help="Make edit directions for the method pix2pix-zero.")

LOADING, TALK = Loading(), Talk()
SENTENCES = Group.create_ordered("Sentences")

Templates = Annotated[
    list[str] | None,
    Parameter(
        name="--template",
        group=SENTENCES,
        negative=(),
        help="A sentence with ... in the word's place; repeat it. Left out, general ones.",
    ),
]


@pix2pix_zero.command
def direction(
    *,
    output: Annotated[
        Path, Parameter(name=("--output", "-o"), group=OUTPUT, help="The direction, .safetensors.")
    ],
    source_word: Annotated[
        str | None, Parameter(group=SENTENCES, help="Where it leads from, e.g. cat.")
    ] = None,
    target_word: Annotated[
        str | None, Parameter(group=SENTENCES, help="Where it leads to, e.g. dog.")
    ] = None,
    template: Templates = None,
    source_file: Annotated[
        Path | None,
        Parameter(group=SENTENCES, help="In place of a word: a text file, a sentence a line."),
    ] = None,
    target_file: Annotated[
        Path | None, Parameter(group=SENTENCES, help="The same for where it leads to.")
    ] = None,
    loading: Loading = LOADING,
    talk: Talk = TALK,
) -> Answer:
    """Encode two banks of sentences and keep their means, whose difference is the direction."""
    if output.suffix != ".safetensors":
        raise InvalidRequestError(f"-o {output}: give a name that ends in .safetensors.")
    check_folder(output.parent)
    banks = [
        _sentences("source", source_word, source_file, template),
        _sentences("target", target_word, target_file, template),
    ]
    names = (source_word or str(source_file), target_word or str(target_file))
    with open_pipeline(loading, talk) as pipe:
        made = _encode(pipe, banks, names, talk)
    made.save(output)
    data = {"command": "pix2pix-zero direction", "files": [str(output)]}
    return answer_files(data | {"direction": made.facts.model_dump(mode="json")}, [output])


@pix2pix_zero.command
def sentences(
    word: Annotated[str, Parameter(help="What they are about, e.g. cat.")],
    /,
    *,
    template: Templates = None,
    json: JsonFlag = False,  # noqa: ARG001 - the caller looks at it
) -> Answer:
    """Print a bank's sentences, one a line: a start for a file of your own."""
    filled = fill(template or TEMPLATES, word)
    return Answer(list(filled), lambda: sys.stdout.writelines(f"{one}\n" for one in filled))


def _sentences(
    side: str, word: str | None, file: Path | None, template: Sequence[str] | None
) -> Sequence[str]:
    if (word is None) == (file is None):
        raise InvalidRequestError(
            f"Give either --{side}-word, e.g. --{side}-word cat, or --{side}-file."
        )
    if file is not None:
        return read_sentences(file)
    return fill(template or TEMPLATES, str(word))


def _encode(
    pipe: Pipeline, banks: Sequence[Sequence[str]], names: tuple[str, str], talk: Talk
) -> Direction:
    from underpaint_pix2pix_zero.direction import Direction, DirectionFacts, mean_embedding

    engine = pipe.engine

    def encode(texts: Sequence[str]) -> Tensor:
        tokens = engine.tokenize(texts)
        for each in tokens:
            if each.dropped:
                tell(f"Too long, the model does not see {each.dropped!r} of {each.text!r}.", talk)
        return engine.encode_text(tokens)

    means = []
    with step_bars(["Source", "Target"], max(map(len, banks)), talk) as bars:
        for bank, bar in zip(banks, bars, strict=True):

            def told(done: int, bar: object = bar) -> None:
                if callable(bar):
                    bar(pipe, done - 1, 0, {})

            means.append(mean_embedding(encode, bank, told))
    facts = DirectionFacts(
        model=engine.info.name,
        model_digest=engine.info.digest,
        source=names[0],
        target=names[1],
        sentences=(len(banks[0]), len(banks[1])),
    )
    return Direction(facts, means[0], means[1])
