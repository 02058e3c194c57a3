"""What is told of an installed method: where from, what it takes, needs, and what can run it."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING, Any

from underpaint import registry
from underpaint.errors import PluginError, UnderpaintError

if TYPE_CHECKING:
    from underpaint.inspection.example import Wishes
    from underpaint.method import Method
    from underpaint.records import Needs, Tap


def summary_of(point: EntryPoint) -> dict[str, Any]:
    """Return a method's name, origin and first line; `problem` where it cannot be imported."""
    entry = {
        "name": point.name,
        "version": point.dist.version if point.dist else "",
        "distribution": point.dist.name if point.dist else "",
        "summary": "",
    }
    try:
        method = registry.load("methods", point.name)
    except PluginError as error:
        return entry | {"problem": str(error)}
    lines = inspect.cleandoc(method.__doc__ or "").splitlines()
    return entry | {"summary": next(iter(lines), "")}


def facts_of(point: EntryPoint) -> dict[str, Any]:
    """Return all that is known of a method, as JSON."""
    from underpaint.hookspecs import VERSION

    entry = {**summary_of(point), "origin": _origin(point), "hookspecs": VERSION}
    if "problem" in entry:
        return entry
    method: type[Method] = registry.load("methods", point.name)
    return {
        **entry,
        "description": inspect.cleandoc(method.__doc__ or ""),
        "hooks": hooks_of(method),
        "schema": _schema(method),
        **_wishes(method),
    }


def hooks_of(method: type[Method]) -> list[str]:
    """Return the hooks of the classes that the method's `start` makes, without making one."""
    from underpaint.method import PROJECT
    from underpaint.registration import SPECIFICATIONS

    start: Any = method.start
    used = [start.__globals__.get(name) for name in start.__code__.co_names]
    found = {
        (getattr(value, f"{PROJECT}_impl").get("specname") or attribute)
        for kind in used
        if isinstance(kind, type)
        for attribute, value in inspect.getmembers(kind)
        if hasattr(value, f"{PROJECT}_impl")
    }
    return [hook for hook in SPECIFICATIONS if hook in found]


def _origin(point: EntryPoint) -> dict[str, str]:
    """Return how the method was installed and where its code lies."""
    from underpaint.inspection.project import editable_folder

    if point.dist is None:
        return {"kind": "unknown", "path": ""}
    folder = editable_folder(point.dist)
    place = Path(str(point.dist.locate_file(""))).resolve() if folder is None else folder
    return {"kind": "wheel" if folder is None else "editable", "path": str(place)}


def _schema(method: type[Method]) -> dict[str, Any] | None:
    from pydantic.errors import PydanticUserError

    try:
        return method.model_json_schema()
    except PydanticUserError:
        return None  # `underpaint plugins validate` says why


def _wishes(method: type[Method]) -> dict[str, Any]:
    """Return what the method's example needs, and which engines serve that."""
    from pydantic import ValidationError

    from underpaint.inspection.example import example_of, wishes_of

    try:
        wishes = wishes_of(example_of(method))
    except (UnderpaintError, ValidationError) as error:
        return {"needs": None, "needs_problem": str(error), "engines": None}
    return {"needs": _describe(wishes), "engines": engines_for(wishes.needs)}


def engines_for(needs: Needs) -> list[dict[str, Any]]:
    """Return for each installed engine whether it serves the needs, in fp32."""
    found = []
    for name in registry.find("engines"):
        offers = registry.load("offers", name) if name in registry.find("offers") else None
        missing = list(offers.missing(needs)) if offers else []
        fallback = offers.fallback if offers and missing else ""
        runs = "unknown" if offers is None else "yes" if not missing else "no"
        found.append(
            {
                "engine": name,
                "runs": "fallback" if fallback else runs,
                "missing": missing,
                "fallback": fallback,
                "gradients": sorted(offers.gradients) if offers else None,
            }
        )
    return found


def _describe(wishes: Wishes) -> dict[str, Any]:
    needs = wishes.needs
    return {
        "taps": [_tap(tap) for tap in needs.taps],
        "edits": needs.edits,
        "cross_bias": needs.cross_bias,
        "hidden_delta": needs.hidden_delta,
        "gradient": sorted(needs.gradient),
        "picture": wishes.picture,
    }


def _tap(tap: Tap) -> dict[str, Any]:
    chosen = tap.selector
    return {
        "kind": chosen.kind,
        "levels": sorted(chosen.levels),
        "places": sorted(chosen.places),
        "names": sorted(chosen.names),
        "heads": tap.heads,
        "during": [tap.during.start, tap.during.end],
    }
