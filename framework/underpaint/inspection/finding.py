"""One thing that is wrong with a plugin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]
"""An error breaks a rule or does not run; a warning works, and serves its users badly."""


@dataclass(frozen=True)
class Finding:
    """What is wrong, where, and how to mend it.

    Attributes
    ----------
    code : of the rule, e.g. ``entry-point-missing``.
    severity : see `Severity`.
    where : a file with its line, a parameter, or the package.
    message : what is wrong.
    mend : what to do about it.
    """

    code: str
    severity: Severity
    where: str
    message: str
    mend: str


def error(code: str, where: str, message: str, mend: str) -> Finding:
    """Return a finding that makes a plugin unfit."""
    return Finding(code, "error", where, message, mend)


def warning(code: str, where: str, message: str, mend: str) -> Finding:
    """Return a finding that its author may have good reasons for."""
    return Finding(code, "warning", where, message, mend)
