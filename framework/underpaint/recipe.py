"""The JSON that reproduces a result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic_core import PydanticSerializationError

from underpaint import registry
from underpaint.arguments import Pictures
from underpaint.engine import Engine
from underpaint.errors import InvalidRequestError
from underpaint.method import Method
from underpaint.precision import dtype_name
from underpaint.request import Request

FORMAT = 2

_CALL = (
    "prompt",
    "negative_prompt",
    "seed",
    "num_inference_steps",
    "guidance_scale",
    "height",
    "width",
    "eta",
    "timestep_spacing",
    "follow",
    "refinements",
)


def make_recipe(request: Request, engine: Engine) -> dict[str, Any]:
    """Return everything that decides the images.

    `reproducible` is False where latents, a generator or a trajectory were given, or an edit has a
    parameter (such as an image) that JSON does not hold. `image` is a digest of the call's
    pictures in the model's frame, and how they were fitted: to repeat the call takes them too.
    """
    edits = [_describe(edit) for edit in request.edits]
    return {
        "format": FORMAT,
        "model": request.model.name,
        "model_digest": request.model.digest,
        "engine": engine.name,
        "dtype": dtype_name(engine.dtype),
        "prompt": list(request.prompts),
        "negative_prompt": list(request.negative_prompts),
        "seed": list(request.seeds),
        "num_inference_steps": request.num_inference_steps,
        "guidance_scale": request.guidance_scale,
        "height": request.height,
        "width": request.width,
        "eta": request.eta,
        "timestep_spacing": request.timestep_spacing or request.model.noise.spacing,
        "follow": request.follow,
        "refinements": request.refinements,
        "image": request.image
        and {"digest": request.image.digest, "fit": request.image.placements[0].fit},
        "edits": [description for description, _ in edits],
        "reproducible": request.latents is None
        and request.trajectory is None
        and all(complete for _, complete in edits),
    }


def _describe(edit: Method) -> tuple[dict[str, Any], bool]:
    """Return an edit's JSON form, and whether it holds all parameters."""
    try:
        return edit.describe(), True
    except PydanticSerializationError:
        values = edit.model_dump(mode="json", fallback=lambda value: f"<{type(value).__name__}>")
        return {"method": edit.method, **values}, False


def read_recipe(
    recipe: Mapping[str, Any], engine: Engine, image: Pictures | None = None
) -> dict[str, Any]:
    """Return the arguments of the call that `recipe` describes; `image` is what it edited.

    Raises
    ------
    InvalidRequestError
        If it is no recipe, was made with another model, or cannot be reproduced.
    """
    missing = [
        key for key in (*_CALL, "model_digest", "engine", "dtype", "edits") if key not in recipe
    ]
    if missing or recipe.get("format") != FORMAT:
        raise InvalidRequestError(
            f"Not a recipe of format {FORMAT}: missing {missing or 'nothing'}. "
            "Pass result.recipe, or the 'recipe' entry of a result.json."
        )
    if recipe["model_digest"] != engine.info.digest:
        raise InvalidRequestError(
            f"The recipe was made with {recipe['model']!r} ({recipe['model_digest'][:12]}), this "
            f"is {engine.info.name!r} ({engine.info.digest[:12]}). Load that model."
        )
    if not recipe.get("reproducible", True):
        raise InvalidRequestError(
            "The call was made with latents, a generator, a trajectory, or edit parameters that "
            f"JSON does not hold (edits: {[entry['method'] for entry in recipe['edits']]}). "
            "Pass the same values and edits to pipe(...) yourself."
        )
    if recipe.get("image") and image is None:
        raise InvalidRequestError(
            "The recipe edits a picture, which JSON does not hold. Give it: image=..., or --image."
        )
    edits = []
    for entry in recipe["edits"]:
        parameters = {key: value for key, value in entry.items() if key != "method"}
        edits.append(registry.load("methods", entry["method"]).model_validate(parameters))
    call = {key: recipe[key] for key in _CALL}
    if recipe.get("image"):
        call |= {"image": image, "fit": recipe["image"]["fit"]}
    return {**call, "edits": edits}


def differences(recipe: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Return a warning for each thing that makes a repeated call's pictures differ."""
    machines = [f"{each['engine']} in {each['dtype']}" for each in (recipe, now)]
    if machines[0] != machines[1]:
        yield (
            f"The recipe was made on {machines[0]}, this ran on {machines[1]}: expect the same "
            "picture but for rounding."
        )
    if recipe.get("image") != now.get("image"):
        yield "The recipe was made with another picture, or the picture was fitted in another way."
