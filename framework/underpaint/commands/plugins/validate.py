"""``underpaint plugins validate PATH|NAME``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from underpaint.commands.answer import Answer, answer_table
from underpaint.commands.options import JsonFlag, Talk
from underpaint.commands.progress import busy
from underpaint.inspection import Finding, inspect_isolated
from underpaint.inspection.project import resolve

if TYPE_CHECKING:
    from rich.text import Text


def validate(
    target: Annotated[str, Parameter(help="An installed method, or the folder of a package.")],
    /,
    *,
    timeout: Annotated[float, Parameter(help="Seconds until it counts as hanging.")] = 300.0,
    json: JsonFlag = False,
) -> Answer:
    """Check a plugin's package, parameters, hooks and a run, each with what to do about it."""
    found = resolve(target)
    with busy(f"Validating {target}", Talk(quiet=json)):
        findings = inspect_isolated(found, timeout)
    broken = any(finding.severity == "error" for finding in findings)
    data = {"target": target, "ok": not broken, "findings": [asdict(each) for each in findings]}
    return answer_table(data, *_render(target, findings), exit_code=1 if broken else 0)


def _render(target: str, findings: Sequence[Finding]) -> list[Text]:
    from rich.text import Text

    styles = {"error": "bold red", "warning": "yellow"}
    lines = [
        Text.assemble(
            (each.severity, styles[each.severity]),
            f" {each.code} ({each.where})\n  {each.message}\n  -> {each.mend}",
        )
        for each in findings
    ]
    errors = sum(each.severity == "error" for each in findings)
    told = f"{target}: {_count(errors, 'error')}, {_count(len(findings) - errors, 'warning')}."
    return [*lines, Text(told, style="red" if errors else "green")]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
