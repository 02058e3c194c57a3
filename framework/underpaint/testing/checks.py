"""Assertions about methods and engines, with messages that say what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from underpaint.cancel import CancelToken
from underpaint.engine import Engine, UNetCall
from underpaint.errors import CancelledError, UnderpaintError
from underpaint.method import Method
from underpaint.pipeline import Pipeline
from underpaint.testing.session import PROMPT, EditSession

TOLERANCE = 1e-4
"""Greatest difference of two runs whose batches differ in size: more than rounding."""


class CheckFailedError(UnderpaintError, AssertionError):
    """A method or an engine breaks its contract; the message says which part of it."""


def greatest_difference(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Return the greatest absolute difference of two lists of images or latents."""
    pairs = zip(a, b, strict=True)
    return max(float((x.cpu().float() - y.cpu().float()).abs().max()) for x, y in pairs)


def assert_engines_agree(
    engine: Engine, reference: Engine, call: UNetCall, tolerance: float = TOLERANCE
) -> None:
    """Assert that two engines say the same about a batch: noise, maps and features.

    Raises
    ------
    CheckFailedError
        Naming the output that differs, and by how much.
    """
    ours, theirs = engine.predict(call), reference.predict(call)
    _check_keys("maps", ours.maps.keys(), theirs.maps.keys())
    _check_keys("features", ours.features.keys(), theirs.features.keys())
    outputs = {"noise": (ours.noise, theirs.noise)}
    outputs |= {f"map of {n}": (ours.maps[n], theirs.maps[n]) for n in ours.maps}
    outputs |= {f"feature {n}": (ours.features[n], theirs.features[n]) for n in ours.features}
    for name, (a, b) in outputs.items():
        if a.shape != b.shape:
            raise CheckFailedError(
                f"{name}: {engine.name} gives {tuple(a.shape)}, {reference.name} {tuple(b.shape)}."
            )
        difference = greatest_difference([a], [b])
        if not difference <= tolerance:
            raise CheckFailedError(
                f"{name}: {engine.name} and {reference.name} differ by {difference:.2e}, "
                f"{tolerance:.0e} is allowed."
            )


def assert_identity_at_zero_strength(
    method: Method,
    pipeline: Pipeline | None = None,
    prompt: str = PROMPT,
    tolerance: float = TOLERANCE,
    **call: Any,
) -> None:
    """Assert that a method whose parameters switch it off leaves the images alone.

    Raises
    ------
    CheckFailedError
        With the greatest difference of any pixel.
    """
    session = _session(pipeline, prompt, call)
    difference = greatest_difference(session(method).images, session().images)
    if not difference <= tolerance:
        raise CheckFailedError(
            f"{method.method} at zero strength changes the image by {difference:.2e} "
            f"({tolerance:.0e} is allowed). With nothing to do, return the values as they came."
        )


def assert_deterministic(
    method: Method, pipeline: Pipeline | None = None, prompt: str = PROMPT, **call: Any
) -> None:
    """Assert that a call gives equal bytes when repeated, with another call in between.

    Raises
    ------
    CheckFailedError
        If it does not: noise outside ``run.randn``, or state that outlives its run.
    """
    session = _session(pipeline, prompt, call)
    first = session(method).images
    session(method, seed=8)
    if greatest_difference(first, session(method).images) != 0:
        raise CheckFailedError(
            f"{method.method} gives another image when the call is repeated. Draw noise from "
            "run.randn(key, step) and keep state on the object that start() returns."
        )


def assert_clean_cancel(
    method: Method, pipeline: Pipeline | None = None, prompt: str = PROMPT, **call: Any
) -> None:
    """Assert that a call with the method can be cancelled after its first step, and run again.

    Raises
    ------
    CheckFailedError
        If the cancellation does not come through, or changes later calls.
    """
    session = _session(pipeline, prompt, call)
    before, cancel = session(method).images, CancelToken()
    try:
        session(method, cancel=cancel, callback_on_step_end=lambda *_: cancel.cancel())
    except CancelledError:
        pass
    else:
        raise CheckFailedError(f"{method.method}: a cancelled call went on to its end.")
    if greatest_difference(before, session(method).images) != 0:
        raise CheckFailedError(
            f"{method.method} gives another image after a cancelled call. Keep state on the "
            "object that start() returns."
        )


def _session(pipeline: Pipeline | None, prompt: str, call: dict[str, Any]) -> EditSession:
    session = EditSession(prompt=prompt) if pipeline is None else EditSession(pipeline, prompt)
    session.call.update(call)
    return session


def _check_keys(kind: str, ours: object, theirs: object) -> None:
    if ours != theirs:
        raise CheckFailedError(f"The {kind} differ: {ours} and {theirs}.")
