"""A page per plugin: its README, and for each of its methods what the parameters' schema says."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from underpaint import registry
from underpaint.commands.plugins.facts import facts_of
from underpaint.commands.plugins.info import describe_engine, describe_needs

from docs.generate.links import ROOT, rehomed
from docs.generate.markdown import table

Schema = Mapping[str, Any]

LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minItems": "at least {} of them",
    "maxItems": "at most {} of them",
    "minProperties": "at least {} of them",
    "minLength": "at least {} characters",
}


def plugins() -> list[str]:
    """Return the folders under ``plugins/`` that bring methods, in order."""
    return [file.parent.name for file in sorted(ROOT.glob("plugins/*/README.md"))]


def render_index() -> str:
    """Return the page that lists all methods."""
    rows = [
        (f"[`{name}`]({plugin}.md#method-{name})", facts["summary"])
        for plugin in plugins()
        for name, facts in _facts(plugin).items()
    ]
    return (
        "# Methods\n\nEach plugin is a package of its own, and stands beside others in one call: "
        "`edits=[a, b]` in Python, `--also` on the command line. `underpaint plugins list` shows "
        "those that are installed here.\n\n" + table(("method", "what it does"), rows) + "\n"
    )


def render(plugin: str) -> str:
    """Return the page of one plugin."""
    sections = [_section(name, facts) for name, facts in _facts(plugin).items()]
    return "\n\n".join([rehomed(f"plugins/{plugin}/README.md").strip(), *sections]) + "\n"


@cache
def _facts(plugin: str) -> dict[str, dict[str, Any]]:
    """Return what is known of each method that a plugin installs."""
    project = tomllib.loads((ROOT / "plugins" / plugin / "pyproject.toml").read_text("utf-8"))
    points = project["project"]["entry-points"]["underpaint.methods"]
    for name in points:
        registry.load("methods", name)  # one that is not installed is an error that says so
    return {name: facts_of(registry.find("methods")[name]) for name in points}


def _section(name: str, facts: Mapping[str, Any]) -> str:
    schema = facts["schema"]
    tables = [f"### {kind}\n\n{_parameters(own)}" for kind, own in _models(schema)]
    hooks = ", ".join(f"[`{hook}`](../hooks.md#{hook})" for hook in facts["hooks"])
    return "\n\n".join(
        [
            f"## The method {name} {{ #method-{name} }}",
            facts["description"],
            f"`underpaint edit {name} --help` shows the parameters as flags.",
            _parameters(schema),
            *tables,
            f"- Hooks: {hooks}\n{_wishes(facts)}",
        ]
    )


def _wishes(facts: Mapping[str, Any]) -> str:
    if facts["needs"] is None:
        return "- Needs: known only with its parameters given."
    needs = ", ".join(describe_needs(facts["needs"])) or "nothing of the engine"
    engines = ", ".join(map(describe_engine, facts["engines"]))
    return f"- Needs: {needs}\n- [Engines](../engines.md) that serve it: {engines}"


def _models(schema: Schema) -> Iterator[tuple[str, Schema]]:
    for name, own in schema.get("$defs", {}).items():
        if "properties" in own:
            yield name, own


def _parameters(schema: Schema) -> str:
    required = schema.get("required", ())
    rows = [
        (f"`{name}`", kind(own), _default(own, name in required), own.get("description", ""))
        for name, own in schema.get("properties", {}).items()
    ]
    return table(("parameter", "type", "default", "what it is"), rows) if rows else "No parameters."


def _default(own: Schema, required: bool) -> str:
    if required:
        return "(required)"
    return f"`{json.dumps(own['default'])}`" if "default" in own else "its own"


def kind(schema: Schema) -> str:
    """Return a parameter's type and limits in words."""
    told = {key: words for key, words in LIMITS.items() if key in schema}
    if "prefixItems" in schema:  # as many as it lists
        told = {}
    limits = ", ".join(words.format(schema[key]) for key, words in told.items())
    return f"{_type(schema)} ({limits})" if limits else _type(schema)


def _type(schema: Schema) -> str:
    if "anyOf" in schema:
        return " or ".join(kind(one) for one in schema["anyOf"])
    if "$ref" in schema:
        return f"`{schema['$ref'].rpartition('/')[2]}`"
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{one}`" for one in schema.get("enum", [schema.get("const")]))
    named = str(schema.get("type", "any"))
    return _CONTAINERS[named](schema) if named in _CONTAINERS else named


def _list(schema: Schema) -> str:
    if "prefixItems" in schema:
        return f"({', '.join(map(kind, schema['prefixItems']))})"
    return f"list of {kind(schema.get('items', {}))}"


def _mapping(schema: Schema) -> str:
    return f"by name: {kind(schema.get('additionalProperties') or {})}"


_CONTAINERS: Mapping[str, Callable[[Schema], str]] = {
    "array": _list,
    "object": _mapping,
    "null": lambda _: "nothing",
}
