"""pydantic's complaints in one sentence each, in the command line's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from pydantic import ValidationError


def explain(error: BaseException | None, flag: str = "") -> str:
    """Return what is wrong with which flag; `flag` is the one that all of it belongs to.

    Empty for any other error than pydantic's.
    """
    if not isinstance(error, ValidationError):
        return ""
    by_field = groupby(error.errors(), lambda detail: detail["loc"][:1])
    return "; ".join(_sentence([dict(detail) for detail in group], flag) for _, group in by_field)


def _sentence(details: Sequence[Mapping[str, Any]], flag: str) -> str:
    """Return the complaint about one field; each shape that a value may have gives a detail."""
    place = details[0]["loc"] if len(details) == 1 else details[0]["loc"][:1]
    path = ".".join(map(str, place)).replace("_", "-")
    name = flag + (f".{path}" if flag and path else path and f"--{path}")
    message = ", or: ".join(_message(detail) for detail in details)
    given = details[0].get("input")
    shown = f" (got {given!r})" if name and isinstance(given, (str, int, float)) else ""
    return f"{name}: {message}{shown}." if name else f"{message}."


def _message(detail: Mapping[str, Any]) -> str:
    if detail["type"] == "dict_type":
        return "give key=value"
    return str(detail["msg"]).removeprefix("Value error, ").rstrip(".")
