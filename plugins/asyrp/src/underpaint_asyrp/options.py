"""The flags of a training."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter
from pydantic import ValidationError
from underpaint.commands.validation import explain
from underpaint.errors import InvalidRequestError

from underpaint_asyrp.directions import Kind
from underpaint_asyrp.process import Halves
from underpaint_asyrp.training.objectives import Objective

if TYPE_CHECKING:
    from underpaint.pipeline import Pipeline

    from underpaint_asyrp.training.plan import Plan

PICTURES, TRAINING, DIRECTION = map(Group.create_ordered, ("Pictures", "Training", "Direction"))

MEASURED = 8
"""Pictures on which t_edit and t_boost are measured."""


@Parameter(name="*", group=PICTURES, negative=())
@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What it is trained on."""

    image: Annotated[
        list[Path] | None,
        Parameter(help="A picture to invert; repeat it. Left out, pictures are generated."),
    ] = None
    pictures: Annotated[int, Parameter(help="How many are generated.")] = 16
    seed: Annotated[int, Parameter(help="Of the first.")] = 0
    steps: Annotated[int | None, Parameter(help="Denoising steps.")] = None
    guidance_scale: Annotated[float | None, Parameter(help="Weight of the prompt.")] = None


@Parameter(name="*", negative=())
@dataclass(frozen=True, kw_only=True)
class Settings:
    """How it is trained."""

    kind: Annotated[
        Kind,
        Parameter(group=DIRECTION, help="A function of h, or the same delta for every picture."),
    ] = "conv"
    buckets: Annotated[
        int, Parameter(group=DIRECTION, help="Deltas along the noise range, of a constant.")
    ] = 1
    halves: Annotated[
        Halves, Parameter(group=DIRECTION, help="Whose h is moved: cond, or both of guidance.")
    ] = "cond"
    t_edit: Annotated[
        int | None, Parameter(group=DIRECTION, help="Least timestep to edit; left out, measured.")
    ] = None
    t_boost: Annotated[
        int | None,
        Parameter(group=DIRECTION, help="Timestep below which noise is added; out, measured."),
    ] = None
    objective: Annotated[
        Objective,
        Parameter(
            group=TRAINING,
            help="clip: the paper's directional loss. prompt: what the model predicts for the "
            "target's text; faster, and without CLIP.",
        ),
    ] = "clip"
    epochs: Annotated[int, Parameter(group=TRAINING, help="How often each is gone through.")] = 3
    batch: Annotated[int, Parameter(group=TRAINING, help="Pictures that share an update.")] = 4
    learning_rate: Annotated[float, Parameter(group=TRAINING, help="Adam's, at first.")] = 0.003
    clip_weight: Annotated[float, Parameter(group=TRAINING, help="Of the texts' direction.")] = 1.0
    l1_weight: Annotated[float, Parameter(group=TRAINING, help="Of what the pixels change.")] = 3.0

    def plan(self, pipe: Pipeline, texts: dict[str, Any], pictures: Pictures) -> Plan:
        """Return the whole plan; measures the window where it is not given.

        Raises
        ------
        InvalidRequestError
            For values that cannot be used; also for a measured t_boost above t_edit.
        """
        from underpaint_asyrp.training.start import measure_window

        info = pipe.engine.info
        given = {
            **asdict(self),
            **texts,
            "images": tuple(map(str, pictures.image or ())),
            "pictures": pictures.pictures,
            "seed": pictures.seed,
            "num_inference_steps": pictures.steps or info.num_inference_steps,
            "guidance_scale": info.guidance_scale
            if pictures.guidance_scale is None
            else pictures.guidance_scale,
        }
        unset = {"t_edit": info.noise.levels, "t_boost": 0}
        unknown = {name: value for name, value in unset.items() if given[name] is None}
        plan = _make_plan({**given, **unknown})
        plan.cases()
        if not unknown:
            return plan
        measured = measure_window(pipe, plan, MEASURED)
        return _make_plan({**given, **{name: measured[name] for name in unknown}})


def _make_plan(given: dict[str, Any]) -> Plan:
    from underpaint_asyrp.training.plan import Plan

    try:
        return Plan.model_validate(given)
    except ValidationError as error:
        raise InvalidRequestError(explain(error)) from error
