"""The rules of a method's class, and of the plugin that it starts."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from underpaint.inspection.finding import Finding, error, warning
from underpaint.inspection.importing import blamed
from underpaint.inspection.project import Project
from underpaint.method import PROJECT, Method
from underpaint.registration import SPECIFICATIONS, Implementation, find_problems, implementations

_ARXIV = re.compile(r"arxiv[\s:]*\d{4}\.\d{4,5}", re.IGNORECASE)


def check_docstring(method: type[Method]) -> Iterator[Finding]:
    """Yield a warning unless the method, whose docstring is its help, names its paper."""
    if not _ARXIV.search(method.__doc__ or ""):
        yield warning(
            "arxiv-missing",
            method.__name__,
            f"The docstring of {method.__name__} does not name the paper that it implements.",
            "Add its id and the section or equation: (arXiv 2208.01626, eq. 3).",
        )


def check_start(project: Project, edit: Method) -> Iterator[Finding]:
    """Yield what is wrong with what `start` returns, and with its hooks."""
    where = f"{type(edit).__name__}.start"
    try:
        first, second = edit.start(), edit.start()
    except Exception as reason:  # whatever a plugin does
        yield error(
            "start-fails",
            blamed(project, reason),
            f"start() raises {type(reason).__name__}: {reason}.",
            "Return the plugin of one run; check parameters with pydantic, pictures in a hook.",
        )
        return
    if first is second:
        yield error(
            "start-shared",
            where,
            "start() returned the same object twice: two calls at one time would share its state.",
            "Return a fresh object: return MyRun(self).",
        )
    found = implementations(first)
    for problem in find_problems(edit.method, first, found):
        yield error(problem.code, type(first).__name__, problem.what, problem.mend)
    yield from _check_unmarked(first)
    yield from _check_deprecated(first, found)


def _check_unmarked(plugin: object) -> Iterator[Finding]:
    """Yield each method that pluggy would silently never call."""
    for name in SPECIFICATIONS:
        function = getattr(plugin, name, None)
        if inspect.ismethod(function) and not hasattr(function, f"{PROJECT}_impl"):
            yield error(
                "hook-unmarked",
                type(plugin).__name__,
                f"The method {name!r} has the name of a hook, and is not marked as one: it is "
                "never called.",
                "Put @underpaint.hookimpl above it, or rename it.",
            )


def _check_deprecated(plugin: object, found: list[Implementation]) -> Iterator[Finding]:
    for each in found:
        specification: Any = SPECIFICATIONS.get(each.hook)
        options = getattr(specification, f"{PROJECT}_spec", {})
        for name, told in (options.get("warn_on_impl_args") or {}).items():
            if name in each.arguments:
                message, _, mend = str(told).partition(". ")
                yield warning(
                    "hook-argument-deprecated",
                    f"{type(plugin).__name__}.{each.hook}",
                    f"{message}.",
                    mend,
                )
