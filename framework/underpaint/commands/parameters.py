"""From a method's pydantic parameters to command-line flags, and back to the method."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from cyclopts import Parameter
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from underpaint.commands.options import COMMON_FLAGS, METHOD
from underpaint.commands.validation import explain
from underpaint.errors import InvalidRequestError
from underpaint.method import Method


def add_flags(method: type[Method], body: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command with the method's flags and those of `body`.

    `body` is called with the method's instance and its own arguments.

    Raises
    ------
    InvalidRequestError
        When the command is called with values that the method refuses.
    """
    own = inspect.signature(body, eval_str=True).parameters
    common = [parameter for name, parameter in own.items() if name != "method"]
    flags = [_flag(name, field) for name, field in method.model_fields.items()]

    fields = {_argument(name): (name, field) for name, field in method.model_fields.items()}

    def command(**values: Any) -> Any:
        given = {
            name: _read_field(values[key], field) if _is_rich(field) else values[key]
            for key, (name, field) in fields.items()
            if key in values
        }
        rest = {key: value for key, value in values.items() if key not in fields}
        return body(make(method, given), **rest)

    signature = inspect.Signature([*flags, *common])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    command.__doc__ = "\n\n".join([inspect.cleandoc(method.__doc__ or ""), *_about_nested(method)])
    return command


def complete(method: type[Method], tokens: Sequence[str]) -> list[str]:
    """Give each nested model that is asked for by its bare flag its defaults: ``--blend {}``."""
    bare = {_name(_argument(name)) for name, field in method.model_fields.items() if _nested(field)}
    done = []
    for token, following in zip_longest(tokens, tokens[1:], fillvalue=""):
        done.append(token)
        if token in bare and (not following or following.startswith("-")):
            done.append("{}")
    return done


def make(method: type[Method], values: Mapping[str, Any]) -> Method:
    """Return the method with these parameters, or raise InvalidRequestError."""
    try:
        return method(**values)
    except ValidationError as error:
        raise InvalidRequestError(f"{method.method}: {explain(error)}") from error


def read(texts: Sequence[str], pairs: bool) -> Any:
    """Read ``0.8``, ``[0, 0.8]``, several of them, and where `pairs` hold ``red=0.2 blue=2``.

    What the values are is left to pydantic.

    Raises
    ------
    InvalidRequestError
        For pairs beside other values.
    """
    values = [_read_pair(text) if pairs else _read_value(text) for text in texts]
    keyed = [value for value in values if isinstance(value, Mapping)]
    if keyed and len(keyed) < len(values):
        raise InvalidRequestError(f"{' '.join(texts)}: give values, or key=value, not both.")
    if keyed:
        return {key: item for value in keyed for key, item in value.items()}
    return values[0] if len(values) == 1 else values


def _read_field(texts: Sequence[str], field: FieldInfo) -> Any:
    if _is_series_of_models(field):
        return [_read_value(text) for text in texts]
    return read(texts, _has_mapping(field))


def _flag(name: str, field: FieldInfo) -> inspect.Parameter:
    argument = _argument(name)
    default = field.get_default(call_default_factory=True)
    rich = _is_rich(field)
    option = Parameter(
        name=_name(argument),
        help=field.description or "",
        group=METHOD,
        negative_iterable=(),
        show_default=default not in (None, "", {}, [], ()) and str(default),
        metavar=_metavar(field) if rich else None,
        json_list=False if rich else None,
    )
    hint: Any = list[str] | None if rich else field.annotation
    left_out = None if rich else default
    return inspect.Parameter(
        argument,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if field.is_required() else left_out,
        annotation=Annotated[hint, option],
    )


def _about_nested(method: type[Method]) -> list[str]:
    return [
        f"``{_name(_argument(name))}`` alone takes the defaults below. {field.description or ''}"
        for name, field in method.model_fields.items()
        if _nested(field)
    ]


def _nested(field: FieldInfo) -> bool:
    return not _is_series(field) and _holds_model(field)


def _holds_model(field: FieldInfo) -> bool:
    hints = (field.annotation, *get_args(field.annotation))
    return any(isinstance(hint, type) and issubclass(hint, BaseModel) for hint in hints)


def _is_series(field: FieldInfo) -> bool:
    return get_origin(field.annotation) in (tuple, list)


def _is_series_of_models(field: FieldInfo) -> bool:
    """Whether it is repeated, and each value is a text, or JSON, that a model reads."""
    return _is_series(field) and _holds_model(field)


def _name(argument: str) -> str:
    return f"--{argument.replace('_', '-')}"


def _argument(name: str) -> str:
    return f"method_{name}" if name in COMMON_FLAGS else name


def _metavar(field: FieldInfo) -> str:
    if not _has_mapping(field):
        return "VALUE..."
    return "VALUE|KEY=VALUE..." if _is_union(field) else "KEY=VALUE..."


def _is_rich(field: FieldInfo) -> bool:
    """Whether values come in several shapes, which `read` tells apart and pydantic checks."""
    return _has_mapping(field) or _is_union(field) or _is_series_of_models(field)


def _is_union(field: FieldInfo) -> bool:
    members = [hint for hint in get_args(field.annotation) if hint is not NoneType]
    return get_origin(field.annotation) in (Union, UnionType) and len(members) > 1


def _has_mapping(field: FieldInfo) -> bool:
    hints = (field.annotation, *get_args(field.annotation))
    kinds = [get_origin(hint) or hint for hint in hints]
    return any(isinstance(kind, type) and issubclass(kind, Mapping) for kind in kinds)


def _read_pair(text: str) -> Any:
    key, equals, value = text.partition("=")
    if equals and not text.lstrip().startswith("{"):
        return {key.strip(): _read_value(value.strip())}
    return _read_value(text)


def _read_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
