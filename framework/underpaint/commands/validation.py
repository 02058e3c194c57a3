"""pydantic's complaints in one sentence each, in the command line's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError


def explain(error: BaseException | None, flag: str = "") -> str:
    """Return what is wrong with which flag; `flag` is the one that all of it belongs to.

    Empty for any other error than pydantic's.
    """
    if not isinstance(error, ValidationError):
        return ""
    return "; ".join(_reason(detail, flag) for detail in error.errors()) + "."


def _reason(detail: Mapping[str, Any], flag: str) -> str:
    place = ".".join(map(str, detail["loc"])).replace("_", "-")
    name = flag + (f".{place}" if flag and place else place and f"--{place}")
    message = str(detail["msg"]).removeprefix("Value error, ").rstrip(".")
    given = detail.get("input")
    shown = f" (got {given!r})" if name and isinstance(given, (str, int, float)) else ""
    return f"{name}: {message}{shown}" if name else message
