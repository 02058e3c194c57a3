"""What a method's parameters say: types, bounds, descriptions, examples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticUndefined

from underpaint.commands.options import COMMON_FLAGS
from underpaint.inspection.finding import Finding, error, warning
from underpaint.method import Method

BOUNDS = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "enum", "const", "multipleOf"}
)


def check_parameters(method: type[Method]) -> Iterator[Finding]:
    """Yield what is wrong with the parameters of a method."""
    yield from _check_config(method)
    yield from _check_defaults(method)
    for name in method.model_fields:
        if name in COMMON_FLAGS:
            yield warning(
                "parameter-name",
                _where(method, name),
                f"The parameter {name!r} has the name of a flag of every command, and becomes "
                f"--method-{name.replace('_', '-')}.",
                "Choose another name.",
            )
    try:
        schema = method.model_json_schema()
    except PydanticUserError as reason:
        yield warning(
            "parameter-schema",
            method.__name__,
            f"The parameters have no JSON schema: {reason.message}; forms and recipes lack them.",
            "Give the field a type that JSON has, or a __get_pydantic_json_schema__.",
        )
        return
    yield from _check_schema(method.__name__, schema, schema.get("$defs", {}))


def _check_config(method: type[Method]) -> Iterator[Finding]:
    if not method.model_config.get("frozen"):
        yield error(
            "parameters-mutable",
            method.__name__,
            "The method is not frozen: a call could change the parameters of another one.",
            "Remove frozen=False from model_config.",
        )
    if method.model_config.get("extra") != "forbid":
        yield error(
            "parameters-extra",
            method.__name__,
            "The method takes parameters that it does not have: a misspelt one is ignored.",
            'Leave model_config["extra"] at "forbid".',
        )


def _check_defaults(method: type[Method]) -> Iterator[Finding]:
    for name, field in method.model_fields.items():
        if field.is_required() or field.default is PydanticUndefined:
            continue
        try:
            method.model_validate({name: field.default})
        except ValidationError as reason:
            own = [detail["msg"] for detail in reason.errors() if detail["loc"][:1] == (name,)]
            if own:
                yield error(
                    "parameter-default",
                    _where(method, name),
                    f"The default of {name!r}, {field.default!r}, breaks its own bounds: {own[0]}.",
                    "Change the default or the bounds; pydantic does not check defaults.",
                )


def _check_schema(
    owner: str, schema: Mapping[str, Any], definitions: Mapping[str, Any]
) -> Iterator[Finding]:
    nested = {name: part for name, part in definitions.items() if "properties" in part}
    for title, part in {owner: schema, **nested}.items():
        for name, value in part.get("properties", {}).items():
            if not value.get("description"):
                yield warning(
                    "parameter-description",
                    f"{title}.{name}",
                    f"The parameter {name!r} has no description: --help and forms leave it bare.",
                    'Add one: Field(..., description="...").',
                )
            if _unbounded(value):
                yield warning(
                    "parameter-bounds",
                    f"{title}.{name}",
                    f"The number {name!r} has no bounds in its schema: forms offer what is far "
                    "out, and without a validator it fails in the middle of a run, or never.",
                    "Say what it must keep: Field(..., ge=0, le=1), or inside of a tuple or dict "
                    "Annotated[float, Field(ge=0, le=1)].",
                )


def _unbounded(schema: Any) -> bool:
    """Tell whether a part of a schema is a number without any bound."""
    if isinstance(schema, list):
        return any(map(_unbounded, schema))
    if not isinstance(schema, Mapping):
        return False
    if schema.get("type") in ("number", "integer"):
        return not BOUNDS & schema.keys()
    inner = ("anyOf", "oneOf", "allOf", "items", "prefixItems", "additionalProperties")
    return any(_unbounded(schema[key]) for key in inner if key in schema)


def _where(method: type[Method], name: str) -> str:
    return f"{method.__name__}.{name}"
