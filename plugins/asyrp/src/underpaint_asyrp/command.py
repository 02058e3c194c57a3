"""``underpaint asyrp train`` and ``underpaint asyrp window``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Group, Parameter
from underpaint.commands.answer import Answer, answer_files, answer_table
from underpaint.commands.files import check_folder
from underpaint.commands.options import OUTPUT, SAMPLING, Loading, Talk
from underpaint.commands.progress import open_pipeline, step_bars
from underpaint.errors import CancelledError, InvalidRequestError

from underpaint_asyrp.options import Pictures, Settings

if TYPE_CHECKING:
    from underpaint_asyrp.training.trainer import Told

asyrp = App(name="asyrp", help="Train attributes for the method asyrp, and choose their windows.")

LOADING, TALK, SETTINGS, PICTURES = Loading(), Talk(), Settings(), Pictures()
TEXTS = Group.create_ordered("Texts")


@asyrp.command
def train(
    *,
    source: Annotated[
        str, Parameter(group=TEXTS, help='What the pictures show, e.g. "... on grass".')
    ],
    target: Annotated[str, Parameter(group=TEXTS, help='What they become, e.g. "... at night".')],
    subject: Annotated[
        list[str] | None,
        Parameter(group=TEXTS, negative=(), help="In place of the dots; repeat it for several."),
    ] = None,
    output: Annotated[
        Path, Parameter(name=("--output", "-o"), group=OUTPUT, help="The attribute, .safetensors.")
    ],
    pictures: Pictures = PICTURES,
    settings: Settings = SETTINGS,
    loading: Loading = LOADING,
    talk: Talk = TALK,
) -> Answer:
    """Train an attribute; when it is interrupted, the same command goes on from there."""
    from underpaint_asyrp.training.trainer import train as run

    _check_output(output)
    checkpoint = output.with_suffix(".training.safetensors")
    texts = {"source": source, "target": target, "subjects": tuple(subject or ())}
    with open_pipeline(loading, talk) as pipe:
        plan = settings.plan(pipe, texts, pictures)
        with _interruptible(checkpoint), _bar(len(plan.batches()) * plan.epochs, talk) as told:
            attribute = run(pipe, plan, checkpoint, told)
    attribute.save(output)
    checkpoint.unlink(missing_ok=True)
    data = {"command": "asyrp train", "files": [str(output)]}
    return answer_files(data | {"attribute": attribute.facts.model_dump(mode="json")}, [output])


@asyrp.command
def window(
    images: Annotated[list[Path], Parameter(help="Pictures of what is to be edited.")],
    /,
    *,
    prompt: Annotated[str, Parameter(group=TEXTS, help="What they show.")],
    target: Annotated[
        str | None, Parameter(group=TEXTS, help="What they become; it moves t_edit a little.")
    ] = None,
    steps: Annotated[int | None, Parameter(group=SAMPLING, help="Steps of the inversion.")] = None,
    loading: Loading = LOADING,
    talk: Talk = TALK,
) -> Answer:
    """Choose t_edit and t_boost from the perceptual distance along pictures' inversion."""
    from rich.table import Table

    from underpaint_asyrp.window import measure_curves

    with open_pipeline(loading, talk) as pipe:
        curves = measure_curves(
            pipe, list(images), prompt, target=target, num_inference_steps=steps
        )
    data: dict[str, Any] = {
        "t_edit": curves.t_edit(),
        "t_boost": curves.t_boost(),
        "levels": list(curves.levels),
        "predicted": list(curves.predicted),
        "noised": list(curves.noised),
    }
    table = Table("t", "x and P_t", "x and x_t", box=None)
    for row in zip(curves.levels, curves.predicted, curves.noised, strict=True):
        table.add_row(str(row[0]), f"{row[1]:.3f}", f"{row[2]:.3f}")
    found = f"t_edit {data['t_edit']}, t_boost {data['t_boost']}"
    if data["t_boost"] > data["t_edit"]:
        found += " (above t_edit: this distance does not suit, give train a --t-boost of your own)"
    return answer_table(data, found, table)


def _check_output(output: Path) -> None:
    if output.suffix != ".safetensors":
        raise InvalidRequestError(f"-o {output}: give a name that ends in .safetensors.")
    check_folder(output.parent)


@contextmanager
def _interruptible(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise CancelledError(
            f"Interrupted. What is done is kept in {checkpoint}: the same command goes on there."
        ) from None


@contextmanager
def _bar(total: int, talk: Talk) -> Iterator[Told]:
    with step_bars(["Training"], total, talk) as [callback]:

        def told(done: int, _total: int, _loss: float) -> None:
            if callback is not None:
                callback(None, done - 1, 0, {})

        yield told
