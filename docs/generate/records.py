"""The page of the records: every frozen class that crosses a boundary, from its docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, fields
from functools import cached_property
from typing import Any

from underpaint import (
    engine,
    guidance,
    hook_times,
    layout,
    maps,
    offers,
    outputs,
    preparation,
    records,
    request,
    result,
    sites,
    tokens,
    trajectory,
)

from docs.generate.markdown import from_docstring, signature_of

GROUPS: Mapping[str, tuple[str, tuple[type, ...]]] = {
    "What a method says": (
        "Returned from hooks.",
        (
            records.Needs,
            records.Tap,
            sites.SiteSelector,
            records.Window,
            records.Branch,
            records.Move,
            records.Conditioning,
            records.AttentionEdit,
            guidance.Guidance,
        ),
    ),
    "What a method is told": (
        "Arguments of hooks, and what their services return.",
        (
            request.Request,
            engine.ModelInfo,
            sites.Sites,
            sites.Site,
            tokens.Tokens,
            layout.Layout,
            layout.Row,
            records.Prediction,
            outputs.Outputs,
            outputs.Cotangents,
            guidance.Observation,
            maps.AttentionMaps,
            preparation.PreparedImages,
        ),
    ),
    "What a call returns": (
        "From `Pipeline.__call__` and `Pipeline.invert`.",
        (
            result.Result,
            result.Timings,
            result.WordMaps,
            hook_times.HookTime,
            trajectory.Trajectory,
            trajectory.Tuned,
        ),
    ),
    "What an engine is asked": (
        "See [An engine of your own](engine-authors.md).",
        (engine.UNetCall, engine.EditInputs, engine.UNetOutput, offers.Offers),
    ),
}

SHAPES = (
    "`I` images, `T` trajectories (images x branches), `R` rows of a UNet batch, `L` tokens of a "
    "prompt, `d` the width of their embedding, `N` places of an attention map, `S` steps or sites."
)

ONE_LINE = 80


def render() -> str:
    """Return the whole page."""
    parts = ["# Records", f"Frozen: nothing changes them. In shapes, {SHAPES}"]
    for title, (intro, kinds) in GROUPS.items():
        parts += [f"## {title}", intro, *map(_section, kinds)]
    return "\n\n".join(parts) + "\n"


def _section(kind: type) -> str:
    text, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("\nAttributes\n")
    described = "\n".join(_attributes(attributes))
    return "\n\n".join(
        [
            f"### {kind.__name__}",
            f"```py\n{_constructor(kind)}\n```",
            from_docstring(text.strip()),
            *([described] if described else []),
            *_methods(kind),
        ]
    )


def _constructor(kind: type) -> str:
    name, arguments = f"{kind.__module__}.{kind.__name__}", list(_arguments(kind))
    line = f"{name}({', '.join(arguments)})"
    if len(line) <= ONE_LINE:
        return line
    return f"{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"


def _arguments(kind: type) -> Iterator[str]:
    for field in fields(kind):
        if field.init:
            yield f"{field.name}: {field.type}{_default(field)}"


def _default(field: Field[Any]) -> str:
    if field.default is not MISSING:
        return f" = {field.default!r}"
    return "" if field.default_factory is MISSING else " = ..."


def _attributes(section: str) -> Iterator[str]:
    """Yield a list entry for each ``name : text`` with the lines indented below it."""
    lines = section.split("\n")[1:]  # below the rule
    for line in lines:
        if entry := re.match(r"([\w, ]+) : (.*)", line):
            names = ", ".join(f"`{name}`" for name in entry[1].split(", "))
            yield f"- {names}: {from_docstring(entry[2])}"
        elif line.strip():
            yield f"  {from_docstring(line.strip())}"


def _methods(kind: type) -> Iterator[str]:
    found = []
    for name, value in vars(kind).items():
        if name.startswith("_") or not (told := inspect.getdoc(value)):
            continue
        if isinstance(value, (property, cached_property)):
            heading = name
        elif inspect.isroutine(value) or isinstance(value, classmethod):
            heading = _call(name, getattr(kind, name))
        else:
            continue
        summary = from_docstring(told).split("\n\n")[0].replace("\n", " ")
        found.append(f"- `{heading}`: {summary}")
    yield from (["\n".join(found)] if found else [])


def _call(name: str, function: Callable[..., Any]) -> str:
    return signature_of(function, name).replace("(self, ", "(").replace("(self)", "()")
