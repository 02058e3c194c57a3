"""All checks of a plugin, in the order in which they can be made."""

from __future__ import annotations

from underpaint.inspection.exercise import check_runs
from underpaint.inspection.finding import Finding
from underpaint.inspection.importing import import_methods, importable
from underpaint.inspection.packaging import check_packaging
from underpaint.inspection.parameters import check_parameters
from underpaint.inspection.project import Project, UnreadableProjectError, find_project
from underpaint.inspection.rules import check_docstring
from underpaint.inspection.source import check_source, parse


def inspect_plugin(target: str) -> list[Finding]:
    """Return what is wrong with a plugin; imports and runs it in this process.

    Parameters
    ----------
    target : an installed method's name, or the folder of a package.

    Raises
    ------
    UnknownNameError
        If `target` is neither.
    """
    try:
        return inspect_project(find_project(target))
    except UnreadableProjectError as error:
        return [error.finding]


def inspect_project(project: Project) -> list[Finding]:
    """Return what is wrong with a package."""
    findings = list(check_packaging(project))
    modules, unreadable = parse(project)
    findings += [*unreadable, *check_source(project, modules)]
    if unreadable:
        return findings
    with importable(project):
        methods, wrong = import_methods(project, modules)
        findings += wrong
        for method in methods.values():
            findings += check_docstring(method)
            findings += check_parameters(method)
            findings += check_runs(project, method)
    return findings
