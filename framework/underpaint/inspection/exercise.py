"""A short edit with the method's example on the toy engine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from underpaint.errors import PluginError, UnderpaintError, UnknownSiteError
from underpaint.inspection.example import example_of, picture, wishes_of, without_example
from underpaint.inspection.finding import Finding, error, warning
from underpaint.inspection.importing import blamed
from underpaint.inspection.project import Project
from underpaint.inspection.rules import check_start
from underpaint.method import Method
from underpaint.testing import CheckFailedError, ToyEngine, check_plugin
from underpaint.testing.session import PROMPT

_EXAMPLE = f"a call with the prompt {PROMPT!r}, and the picture if the method takes one"


def check_runs(project: Project, method: type[Method]) -> Iterator[Finding]:
    """Yield what goes wrong when the method is started and run."""
    name, missing = method.__name__, without_example(method)
    if missing:
        yield warning(
            "example-missing",
            ", ".join(f"{name}.{field}" for field in missing),
            f"{name} was not run: {', '.join(map(repr, missing))} has neither a default nor an "
            "example.",
            f"Give an example that fits {_EXAMPLE}: Field(..., examples=[...]).",
        )
        return
    try:
        edit = example_of(method)
    except ValidationError as reason:
        yield error(
            "example-invalid",
            name,
            f"{name} refuses its own examples and defaults: {reason.errors()[0]['msg']}.",
            "Correct them, or give further fields an example: Field(..., examples=[...]).",
        )
        return
    wrong = list(check_start(project, edit))
    yield from wrong
    if not any(finding.severity == "error" for finding in wrong):
        yield from _check_run(project, edit)


def _check_run(project: Project, edit: Method) -> Iterator[Finding]:
    try:
        wishes = wishes_of(edit)
        for tap in wishes.needs.taps:
            ToyEngine().info.sites.select(tap.selector)
        call: dict[str, Any] = {"image": picture()} if wishes.picture else {}
        report = check_plugin(edit, **call)
    except Exception as reason:  # whatever a plugin does
        yield _explain(project, edit, reason)
        return
    if report.change == 0:
        yield warning(
            "run-without-effect",
            type(edit).__name__,
            f"{type(edit).__name__} with its example changes no pixel.",
            f"Give examples that do something in {_EXAMPLE}: Field(..., examples=[...]).",
        )


def _explain(project: Project, edit: Method, reason: Exception) -> Finding:
    where, name = blamed(project, reason), type(edit).__name__
    what, advice = _split(str(reason))
    match reason:
        case UnknownSiteError():
            return error(
                "needs-unmatched",
                where,
                f"{name} needs what no site of the model matches: {what}",
                f"Choose sites by kind and level, as request.model.sites.words() does. {advice}",
            )
        case CheckFailedError():
            return error("check-failed", name, what, advice or "See docs/plugin-authors.md.")
        case PluginError():
            return error("rule-broken", where, what, advice or "See underpaint.hookspecs.")
        case UnderpaintError():
            return warning(
                "run-refused",
                where,
                f"{name} was not checked: its example is refused. {reason}",
                f"Give examples that fit {_EXAMPLE}, or hold it to check_plugin in your tests, on "
                "a pipeline that has what it needs.",
            )
        case _:
            return error(
                "run-fails",
                where,
                f"{name} fails in a run: {type(reason).__name__}: {reason}.",
                f"Mend it; it happens in {_EXAMPLE}.",
            )


def _split(message: str) -> tuple[str, str]:
    """Return the first sentence of a message, and what it says to do."""
    first, *rest = re.split(r"(?<=\.) (?=[A-Z])", message, maxsplit=1)
    return first, "".join(rest)
