"""``underpaint plugins info NAME``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from underpaint import registry
from underpaint.commands.answer import Answer, answer_table
from underpaint.commands.options import JsonFlag
from underpaint.commands.plugins.facts import facts_of

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from underpaint.method import Method


def info(
    name: Annotated[str, Parameter(help="As in `underpaint plugins list`.")],
    /,
    *,
    json: JsonFlag = False,
) -> Answer:
    """Describe one installed method."""
    del json
    from rich.table import Table

    method: type[Method] = registry.load("methods", name)
    data = {
        **facts_of(registry.find("methods")[name]),
        "parameters": [_parameter(key, field) for key, field in method.model_fields.items()],
    }
    table = Table("parameter", "type", "default", "what it is", box=None)
    for entry in data["parameters"]:
        default = "(required)" if entry["required"] else repr(entry["default"])
        table.add_row(entry["name"], entry["type"], default, entry["description"])
    return answer_table(data, "\n".join(_lines(data)), table)


def _lines(data: dict[str, Any]) -> Iterator[str]:
    origin = data["origin"]
    yield f"{data['name']} {data['version']} ({data['distribution']})\n"
    yield f"{data['description']}\n"
    yield f"From     {origin['path']} ({origin['kind']})"
    yield f"Hooks    {', '.join(data['hooks']) or 'unknown'}"
    if data["needs"] is None:
        yield f"Needs    unknown: {data['needs_problem']}\n"
        return
    yield f"Needs    {', '.join(describe_needs(data['needs'])) or 'nothing of the engine'}"
    yield f"Engines  {', '.join(map(describe_engine, data['engines']))}\n"


def describe_needs(needs: dict[str, Any]) -> Iterator[str]:
    """Yield in words what a method needs, as `facts_of` tells it."""
    yield from (f"{tap['kind']} maps ({tap['heads']})" for tap in needs["taps"])
    words = {
        "edits": "attention edits",
        "cross_bias": "a bias on cross attention",
        "hidden_delta": "an edit of h-space",
        "picture": "the call's picture",
    }
    yield from (told for name, told in words.items() if needs[name])
    if needs["gradient"]:
        yield f"gradients by {' and '.join(needs['gradient'])}"


def describe_engine(entry: dict[str, Any]) -> str:
    """Return in words how an engine serves a method, as `facts_of` tells it."""
    if entry["runs"] == "fallback":
        return f"{entry['engine']} ({', '.join(entry['missing'])} on {entry['fallback']})"
    return entry["engine"] if entry["runs"] == "yes" else f"{entry['engine']} ({entry['runs']})"


def _parameter(name: str, field: FieldInfo) -> dict[str, Any]:
    from pydantic_core import to_jsonable_python

    default = None if field.is_required() else field.get_default(call_default_factory=True)
    return {
        "name": name,
        "type": re.sub(r"\b(?:\w+\.)+(\w)", r"\1", inspect.formatannotation(field.annotation)),
        "required": field.is_required(),
        "default": to_jsonable_python(default, fallback=repr),
        "description": field.description or "",
    }
