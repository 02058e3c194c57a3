"""Everything a published method must pass, in one call."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from typing import Any

import torch
from pydantic_core import PydanticSerializationError
from torch import Tensor

from underpaint.errors import PluginError
from underpaint.method import Method
from underpaint.pipeline import Pipeline
from underpaint.registration import check_plugin as check_registration
from underpaint.testing.checks import (
    CheckFailedError,
    assert_clean_cancel,
    assert_deterministic,
    greatest_difference,
)
from underpaint.testing.session import PROMPT, EditSession


@dataclass(frozen=True)
class PluginReport:
    """What `check_plugin` found.

    Attributes
    ----------
    method : its name.
    hooks : the hooks it implements, in alphabetical order.
    branches : the names of the branches it adds.
    change : greatest change of any pixel against the call without it and its picture, of 1.
    reproducible : whether JSON holds its parameters, so that a recipe repeats the edit. An image
        or a trajectory among them is allowed, and makes it False.
    """

    method: str
    hooks: tuple[str, ...]
    branches: tuple[str, ...]
    change: float
    reproducible: bool


def check_plugin(
    method: Method, pipeline: Pipeline | None = None, prompt: str = PROMPT, **call: Any
) -> PluginReport:
    """Check a method against the rules that every edit keeps, with a short edit.

    Its hooks and arguments exist; each run has its own plugin; its parameters survive JSON and
    are not changed by a run; equal calls give equal bytes; a cancelled call leaves nothing behind.

    Parameters
    ----------
    method : an instance with parameters that do something.
    pipeline : None takes a toy pipeline.
    prompt : one that the parameters fit.
    call : further arguments of the calls, such as ``num_inference_steps``.

    Raises
    ------
    PluginError
        If it breaks a rule of the hook specification.
    CheckFailedError
        If it breaks one of the other rules; an AssertionError for pytest.
    """
    hooks = _check_start(method)
    reproducible = _check_json(method)
    session = EditSession(pipeline or EditSession().pipeline, prompt)
    session.call.update(call)
    before = _parameters(method)
    result = session(method)
    _check_unchanged(method, before)
    assert_deterministic(method, session.pipeline, prompt, **call)
    assert_clean_cancel(method, session.pipeline, prompt, **call)
    _check_unchanged(method, before)
    # Without the method nothing would use a picture, which is an error.
    plain = {name: value for name, value in session.call.items() if name != "image"}
    change = greatest_difference(result.images, replace(session, call=plain)().images)
    return PluginReport(method.method, hooks, tuple(result.branches), change, reproducible)


def _check_start(method: Method) -> tuple[str, ...]:
    if not isinstance(getattr(type(method), "method", None), str):
        raise PluginError(
            f"{type(method).__name__} has no name: set `method: ClassVar[str]` to the name of its "
            "entry point."
        )
    first, second = method.start(), method.start()
    if first is second:
        raise PluginError(
            f"{method.method}: start() returned the same object twice. Return a fresh one: two "
            "calls may run at the same time."
        )
    found = check_registration(method.method, first)
    return tuple(sorted({hook for _, hook in found.values()}))


def _check_json(method: Method) -> bool:
    try:
        description = json.loads(json.dumps(method.describe()))
    except PydanticSerializationError:
        return False
    name = description.pop("method", None)
    if name != method.method:
        raise CheckFailedError(f"describe() says method={name!r}, the class {method.method!r}.")
    if type(method).model_validate(description) != method:
        raise CheckFailedError(
            f"{method.method} is another edit after a round trip through describe() and JSON: "
            f"{description}. Give its fields types that pydantic can write and read."
        )
    return True


def _parameters(method: Method) -> dict[str, Any]:
    return copy.deepcopy({name: getattr(method, name) for name in type(method).model_fields})


def _check_unchanged(method: Method, before: dict[str, Any]) -> None:
    for name, value in before.items():
        if not _equal(getattr(method, name), value):
            raise CheckFailedError(
                f"{method.method}: a run changed the parameter {name!r} from {value!r} to "
                f"{getattr(method, name)!r}. Copy it in start() and change the copy."
            )


def _equal(a: object, b: object) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    return bool(a == b)
