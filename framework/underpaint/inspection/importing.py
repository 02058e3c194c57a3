"""Importing a plugin as underpaint does, and what that must not do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from types import TracebackType
from typing import Any

from underpaint.inspection.finding import Finding, error
from underpaint.inspection.project import METHODS, Project
from underpaint.inspection.source import Module
from underpaint.inspection.watch import Effects, watched
from underpaint.method import Method

HEAVY = frozenset(
    {"cv2", "diffusers", "jax", "matplotlib", "onnx", "onnxruntime", "onnxscript", "openvino"}
    | {"pandas", "scipy", "skimage", "sklearn", "tensorflow", "tensorrt", "tensorrt_rtx"}
    | {"tensorrt_rtx_bindings", "timm", "torchvision", "transformers", "underpaint_engines"}
    | {"underpaint_export", "xformers"}
)
"""Modules that take seconds or megabytes; torch is there already."""

_ONCE = "Do it in start(), or in the hook that needs it: an import happens in every process."


@contextmanager
def importable(project: Project) -> Iterator[None]:
    """Put the project's folders first on ``sys.path``."""
    before = list(sys.path)
    sys.path[:0] = [str(folder) for folder in project.search if folder.is_dir()]
    try:
        yield
    finally:
        sys.path[:] = before


def import_methods(
    project: Project, modules: list[Module]
) -> tuple[dict[str, type[Method]], list[Finding]]:
    """Import the entry points; return the methods by name, and what was wrong on the way."""
    found: dict[str, type[Method]] = {}
    findings: list[Finding] = []
    with watched() as effects:
        for name, value in project.methods.items():
            if project.place_of(value.partition(":")[0].partition(".")[0]) is None:
                continue  # its package is not there, which is told already
            try:
                loaded = EntryPoint(name, value, METHODS).load()
            except BaseException as reason:  # whatever a package does when it is imported
                findings.append(_not_imported(project, name, value, reason))
                continue
            findings += _check_class(name, value, loaded)
            if _is_method(loaded):
                found[name] = loaded
    return found, [*findings, *_check_effects(effects, modules)]


def blamed(project: Project, reason: BaseException) -> str:
    """Return the project's file and line that raised, or the exception's type."""
    where, trace = "", reason.__traceback__
    while trace is not None:
        where = _line_of(project, trace) or where
        trace = trace.tb_next
    return where or type(reason).__name__


def _line_of(project: Project, trace: TracebackType) -> str:
    file = trace.tb_frame.f_code.co_filename
    ours = {str(path): project.shown(path) for path in project.sources()}
    return f"{ours[file]}:{trace.tb_lineno}" if file in ours else ""


def _is_method(loaded: Any) -> bool:
    return isinstance(loaded, type) and issubclass(loaded, Method)


def _not_imported(project: Project, name: str, value: str, reason: BaseException) -> Finding:
    if isinstance(reason, AttributeError) and reason.__traceback__ is not None:
        own = blamed(project, reason) == type(reason).__name__
        if own:
            return error(
                "entry-point-broken",
                "pyproject.toml",
                f"The entry point {name} = {value!r} names what is not there: {reason}.",
                f"Correct [project.entry-points.{METHODS!r}], or define it.",
            )
    if isinstance(reason, ModuleNotFoundError) and value.startswith(reason.name or " "):
        return error(
            "entry-point-broken",
            "pyproject.toml",
            f"The entry point {name} = {value!r} names what is not there: {reason}.",
            f"Correct [project.entry-points.{METHODS!r}], or add the module.",
        )
    return error(
        "import-fails",
        blamed(project, reason),
        f"The import of {value!r} fails: {type(reason).__name__}: {reason}.",
        "Make it import with underpaint and its dependencies alone: python -c 'import ...'.",
    )


def _check_class(name: str, value: str, loaded: Any) -> Iterator[Finding]:
    if not _is_method(loaded):
        yield error(
            "entry-point-type",
            "pyproject.toml",
            f"The entry point {name} = {value!r} is no underpaint.Method but {loaded!r}.",
            "Name the class of the parameters: class MyEdit(underpaint.Method).",
        )
    elif getattr(loaded, "method", None) != name:
        told = getattr(loaded, "method", None)
        yield error(
            "entry-point-name",
            "pyproject.toml",
            f"The entry point is named {name!r}, and the class says method = {told!r}: recipes "
            "would not find it again.",
            f'Give both one name: method: ClassVar[str] = "{name}".',
        )


def _check_effects(effects: Effects, modules: list[Module]) -> Iterator[Finding]:
    for heavy in sorted(effects.modules & HEAVY):
        yield error(
            "import-heavy",
            _importer(heavy, modules),
            f"Importing the plugin loads {heavy}: every command waits for it, and fails where it "
            "is not installed.",
            "Import it inside the function that uses it.",
        )
    happened = {
        "import-writes": ("writes files", effects.files),
        "import-network": ("uses the network", effects.network),
        "import-process": ("starts processes", effects.processes),
        "import-prints": ("prints", [effects.printed.strip()] if effects.printed else []),
        "import-state": ("changes what belongs to the whole process", effects.state),
    }
    for code, (what, details) in happened.items():
        if details:
            told = "; ".join(dict.fromkeys(details))[:300]
            yield error(code, "import", f"Importing the plugin {what}: {told}.", _ONCE)


def _importer(name: str, modules: list[Module]) -> str:
    for module in modules:
        for imported, line in module.imports():
            if imported.partition(".")[0] == name:
                return f"{module.shown}:{line}"
    return "import"
