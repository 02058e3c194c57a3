"""``underpaint plugins list`` and ``underpaint plugins info NAME``."""

from __future__ import annotations

import inspect
import re
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from underpaint import registry
from underpaint.commands import COMMANDS
from underpaint.commands.answer import Answer, answer_table
from underpaint.commands.options import JsonFlag
from underpaint.errors import PluginError

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from underpaint.method import Method

plugins = App(name="plugins", help=COMMANDS["plugins"])


@plugins.command(name="list")
def list_(*, json: JsonFlag = False) -> Answer:
    """List the installed methods."""
    del json
    from rich.table import Table

    data = [_summary(point) for point in registry.find("methods").values()]
    table = Table("method", "version", "distribution", "what it does", box=None)
    for entry in data:
        told = entry.get("problem", entry["summary"])
        table.add_row(entry["name"], entry["version"], entry["distribution"], told)
    hint = "`underpaint plugins info NAME` shows the parameters of one."
    return answer_table(data, table if data else "No methods are installed.", hint)


@plugins.command
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
        **_summary(registry.find("methods")[name]),
        "description": inspect.cleandoc(method.__doc__ or ""),
        "parameters": [_parameter(key, field) for key, field in method.model_fields.items()],
        "hooks": hooks_of(method),
    }
    table = Table("parameter", "type", "default", "what it is", box=None)
    for entry in data["parameters"]:
        default = "(required)" if entry["required"] else repr(entry["default"])
        table.add_row(entry["name"], entry["type"], default, entry["description"])
    head = f"{name} {data['version']} ({data['distribution']})"
    text = f"{head}\n\n{data['description']}\n\nHooks: {', '.join(data['hooks']) or 'unknown'}\n"
    return answer_table(data, text, table)


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


def _summary(point: EntryPoint) -> dict[str, Any]:
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
