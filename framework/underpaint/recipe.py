"""The JSON that reproduces a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticSerializationError

from underpaint import registry
from underpaint.engine import Engine
from underpaint.errors import InvalidRequestError
from underpaint.method import Method
from underpaint.precision import dtype_name
from underpaint.request import Request

FORMAT = 1

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
)


def make_recipe(request: Request, engine: Engine) -> dict[str, Any]:
    """Return everything that decides the images.

    `reproducible` is False where latents or a generator were given, or an edit has a parameter
    (an image, a trajectory) that JSON does not hold.
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
        "edits": [description for description, _ in edits],
        "reproducible": request.latents is None and all(complete for _, complete in edits),
    }


def _describe(edit: Method) -> tuple[dict[str, Any], bool]:
    """Return an edit's JSON form, and whether it holds all parameters."""
    try:
        return edit.describe(), True
    except PydanticSerializationError:
        values = edit.model_dump(mode="json", fallback=lambda value: f"<{type(value).__name__}>")
        return {"method": edit.method, **values}, False


def read_recipe(recipe: Mapping[str, Any], engine: Engine) -> dict[str, Any]:
    """Return the arguments of the call that `recipe` describes.

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
            "The call was made with latents, a generator, or edit parameters that JSON does not "
            f"hold (edits: {[entry['method'] for entry in recipe['edits']]}). "
            "Pass the same latents and edits to pipe(...) yourself."
        )
    edits = []
    for entry in recipe["edits"]:
        parameters = {key: value for key, value in entry.items() if key != "method"}
        edits.append(registry.load("methods", entry["method"]).model_validate(parameters))
    return {**{key: recipe[key] for key in _CALL}, "edits": edits}


def differences(recipe: Mapping[str, Any], engine: Engine) -> tuple[str, ...]:
    """Return a warning for what makes an engine's pictures differ from the recipe's."""
    made = (recipe["engine"], recipe["dtype"])
    now = (engine.name, dtype_name(engine.dtype))
    if made == now:
        return ()
    return (
        f"The recipe was made on {' in '.join(made)}, this ran on {' in '.join(now)}: expect the "
        "same picture but for rounding.",
    )
