"""What a package says of itself: its name, dependencies, entry points and files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from underpaint.commands import COMMANDS as OWN_COMMANDS
from underpaint.inspection.finding import Finding, error, warning
from underpaint.inspection.project import METHODS, Project

ENGINES = frozenset(
    {"diffusers", "transformers", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino"}
    | {"tensorrt", "tensorrt-rtx", "tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings"}
)
"""Distributions that run a model, which is an engine's business."""

_WHERE = "pyproject.toml"


def check_packaging(project: Project) -> Iterator[Finding]:
    """Yield what is wrong with the metadata and the files of a package."""
    yield from _check_name(project)
    yield from _check_dependencies(project)
    yield from _check_entry_points(project)
    if project.root is not None:
        yield from _check_wheel(project)
        yield from _check_python(project)
        yield from _check_companions(project)


def _check_name(project: Project) -> Iterator[Finding]:
    if not project.name.startswith("underpaint-"):
        yield warning(
            "distribution-name",
            _WHERE,
            f"The distribution is named {project.name!r}: a search for underpaint's plugins does "
            "not find it.",
            'Name it underpaint-METHOD: [project] name = "underpaint-...".',
        )


def _check_dependencies(project: Project) -> Iterator[Finding]:
    names = [(_canonical(line), line) for line in project.dependencies]
    if "underpaint" not in dict(names):
        yield error(
            "dependency-missing",
            _WHERE,
            "The package does not depend on underpaint: installed alone, it cannot be imported.",
            'Add it: dependencies = ["underpaint"].',
        )
    for name, line in names:
        if name in ENGINES or line.replace(" ", "").startswith("underpaint["):
            yield error(
                "dependency-engine",
                _WHERE,
                f"The package depends on {line!r}, which runs models: whoever edits on another "
                "engine would install it for nothing.",
                "Depend on underpaint alone; a run brings tokens, encode, decode and scorer.",
            )
        elif name.startswith("underpaint-"):
            yield error(
                "dependency-plugin",
                _WHERE,
                f"The package depends on {line!r}: a plugin stands alone.",
                "Remove it; edits of two plugins are combined by the call, edits=[a, b].",
            )


def _check_entry_points(project: Project) -> Iterator[Finding]:
    if not project.methods:
        yield error(
            "entry-point-missing",
            _WHERE,
            f"There is no entry point in the group {METHODS!r}: underpaint does not see a method.",
            f'Add [project.entry-points."{METHODS}"] with NAME = "package:Class".',
        )
    for package in project.packages:
        if project.place_of(package) is None:
            yield error(
                "entry-point-package",
                _WHERE,
                f"The entry points name the package {package!r}, which is not there.",
                f"Put it into src/{package}/, or correct the entry point.",
            )
    for name in project.commands:
        if name in OWN_COMMANDS:
            yield error(
                "command-hidden",
                _WHERE,
                f"The command {name!r} is one of underpaint's own, which hides it.",
                "Give it the method's name.",
            )


def _check_wheel(project: Project) -> Iterator[Finding]:
    targets = project.settings.get("tool", {}).get("hatch", {}).get("build", {}).get("targets", {})
    listed = targets.get("wheel", {}).get("packages")
    for package in project.packages if listed is not None else ():
        if package not in {PurePosixPath(each).name for each in listed}:
            yield error(
                "wheel-incomplete",
                _WHERE,
                f"The wheel would not hold {package!r}: [tool.hatch.build.targets.wheel] lists "
                f"{listed}.",
                f'List it: packages = ["src/{package}"].',
            )


def _check_python(project: Project) -> Iterator[Finding]:
    if "requires-python" not in project.settings.get("project", {}):
        yield warning(
            "python-version",
            _WHERE,
            "The package does not say which Python it needs: pip installs it on any.",
            'Say it as underpaint does: requires-python = ">=3.11".',
        )


def _check_companions(project: Project) -> Iterator[Finding]:
    if project.root is None:
        return
    if not any(project.root.glob("README*")):
        yield warning(
            "readme-missing",
            project.origin,
            "There is no README: nobody learns what the method does and where it fails.",
            "Write README.md, with a snippet that runs, and name it: [project] readme.",
        )
    if not any(project.root.glob("tests/**/test_*.py")):
        yield warning(
            "tests-missing",
            project.origin,
            "There are no tests (tests/test_*.py).",
            "Write one with underpaint.testing.check_plugin; see docs/plugin-authors.md.",
        )


def _canonical(requirement: str) -> str:
    """Return a requirement's name as pip compares it."""
    match = re.match(r"\s*([A-Za-z0-9._-]+)", requirement)
    return re.sub(r"[-_.]+", "-", match.group(1)).lower() if match else requirement
