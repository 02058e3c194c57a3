"""From a method's pydantic parameters to command-line flags, and back to the method."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin

from cyclopts import Parameter
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from underpaint.commands.options import COMMON_FLAGS, METHOD
from underpaint.commands.validation import explain
from underpaint.errors import InvalidRequestError
from underpaint.method import Method

PAIRS = Parameter(json_list=False, metavar="KEY=VALUE...")
"""How a dict is written: pairs, or a JSON object."""


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

    fields = {_argument(name): name for name in method.model_fields}
    mappings = [key for key, name in fields.items() if _is_mapping(method.model_fields[name])]

    def command(**values: Any) -> Any:
        given = {
            fields[key]: read_pairs(value) if key in mappings else value
            for key, value in values.items()
            if key in fields
        }
        rest = {key: value for key, value in values.items() if key not in fields}
        return body(make(method, given), **rest)

    signature = inspect.Signature([*flags, *common])
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    command.__doc__ = inspect.cleandoc(method.__doc__ or "")
    return command


def make(method: type[Method], values: Mapping[str, Any]) -> Method:
    """Return the method with these parameters, or raise InvalidRequestError."""
    try:
        return method(**values)
    except ValidationError as error:
        raise InvalidRequestError(f"{method.method}: {explain(error)}") from error


def read_pairs(texts: Sequence[str]) -> dict[str, Any]:
    """Read ``red=0.2 blue=2`` or ``{"red": 0.2}``; what the values are is left to pydantic.

    Raises
    ------
    InvalidRequestError
        For what is neither a pair nor a JSON object.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if text.lstrip().startswith("{"):
            found |= _read_object(text)
        elif equals:
            found[key.strip()] = _read_value(value.strip())
        else:
            raise InvalidRequestError(
                f"{text!r}: give key=value, e.g. red=0.5, or JSON, e.g. '{{\"red\": 0.5}}'."
            )
    return found


def _flag(name: str, field: FieldInfo) -> inspect.Parameter:
    argument = _argument(name)
    default = field.get_default(call_default_factory=True)
    hint: Any = field.annotation
    if _is_mapping(field):
        hint = Annotated[list[str], PAIRS]
        default = [f"{key}={value}" for key, value in (default or {}).items()]
    option = Parameter(
        name=f"--{argument.replace('_', '-')}",
        help=field.description or "",
        group=METHOD,
        negative_iterable=(),
        show_default=default not in (None, "", [], ()),
    )
    return inspect.Parameter(
        argument,
        inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if field.is_required() else default,
        annotation=Annotated[hint, option],
    )


def _argument(name: str) -> str:
    return f"method_{name}" if name in COMMON_FLAGS else name


def _is_mapping(field: FieldInfo) -> bool:
    hints = (field.annotation, *get_args(field.annotation))
    kinds = [get_origin(hint) or hint for hint in hints]
    return any(isinstance(kind, type) and issubclass(kind, Mapping) for kind in kinds)


def _read_object(text: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"{text!r} is no JSON object: {error}.") from error


def _read_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
