"""The package that is inspected: a folder, or what is installed."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from underpaint import registry
from underpaint.errors import UnknownNameError, choices
from underpaint.inspection.finding import Finding, error

METHODS, COMMANDS = "underpaint.methods", "underpaint.commands"


class UnreadableProjectError(Exception):
    """There is no package to inspect; `finding` says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


@dataclass(frozen=True)
class Project:
    """A plugin's package.

    Attributes
    ----------
    origin : the folder, or the distribution with its version.
    name : of the distribution.
    dependencies : as the package states them, without its extras.
    methods, commands : entry points, name -> ``module:attribute``.
    search : the folders that its packages are imported from.
    root : of the source tree, or None for what is installed from a wheel.
    settings : the whole pyproject.toml; empty without `root`.
    """

    origin: str
    name: str
    dependencies: tuple[str, ...]
    methods: Mapping[str, str]
    commands: Mapping[str, str]
    search: tuple[Path, ...]
    root: Path | None
    settings: Mapping[str, Any]

    @property
    def packages(self) -> tuple[str, ...]:
        """The top-level packages of the methods' entry points."""
        tops = (value.partition(":")[0].partition(".")[0] for value in self.methods.values())
        return tuple(dict.fromkeys(top.strip() for top in tops))

    def place_of(self, package: str) -> Path | None:
        """Return a top-level package's folder, or its one file, or None if it is not there."""
        for folder in self.search:
            for place in (folder / package, folder / f"{package}.py"):
                if place.exists():
                    return place
        return None

    def sources(self) -> list[Path]:
        """Return the Python files of its packages, sorted."""
        places = [self.place_of(package) for package in self.packages]
        files = [
            file
            for place in places
            if place is not None
            for file in ([place] if place.is_file() else place.rglob("*.py"))
        ]
        return sorted(files)

    def shown(self, path: Path) -> str:
        """Return a file as its author knows it: relative to the source tree."""
        for base in (self.root, *self.search):
            if base is not None and path.is_relative_to(base):
                return path.relative_to(base).as_posix()
        return str(path)


def resolve(target: str) -> str:
    """Return an installed method's name as it is, and a folder as it is found from anywhere.

    Raises
    ------
    UnknownNameError
        If `target` is neither.
    """
    methods = registry.find("methods")
    if target in methods:
        return target
    if Path(target).is_dir():
        return str(Path(target).resolve())
    raise UnknownNameError(
        f"{target!r} is no folder and no installed method. {choices(target, methods)} Or give the "
        "folder of a pyproject.toml."
    )


def find_project(target: str) -> Project:
    """Return the package of an installed method's name, or of a folder.

    An editable installation is its folder.

    Raises
    ------
    UnreadableProjectError
        If the folder holds no package.
    UnknownNameError
        If `target` is neither.
    """
    found = resolve(target)
    point = registry.find("methods").get(found)
    if point is None or point.dist is None:
        return read_folder(Path(found))
    folder = editable_folder(point.dist)
    return read_folder(folder) if folder else read_installed(point.dist)


def editable_folder(distribution: Distribution) -> Path | None:
    """Return the source tree of an editable installation, or None."""
    text = distribution.read_text("direct_url.json")
    data = json.loads(text) if text else {}
    if not data.get("dir_info", {}).get("editable"):
        return None
    return Path(url2pathname(urlparse(data["url"]).path))


def read_installed(distribution: Distribution) -> Project:
    """Return what a wheel installed."""
    points = distribution.entry_points
    requires = (line for line in distribution.requires or [] if "extra ==" not in line)
    return Project(
        origin=f"{distribution.name} {distribution.version}",
        name=distribution.name,
        dependencies=tuple(requires),
        methods={p.name: p.value for p in points.select(group=METHODS)},
        commands={p.name: p.value for p in points.select(group=COMMANDS)},
        search=(Path(str(distribution.locate_file(""))).resolve(),),
        root=None,
        settings={},
    )


def read_folder(root: Path) -> Project:
    """Return the package of a source tree."""
    settings = _read_settings(root / "pyproject.toml")
    project = settings.get("project", {})
    points = project.get("entry-points", {})
    return Project(
        origin=str(root),
        name=project.get("name", ""),
        dependencies=tuple(project.get("dependencies", ())),
        methods=points.get(METHODS, {}),
        commands=points.get(COMMANDS, {}),
        search=(root / "src", root),
        root=root,
        settings=settings,
    )


def _read_settings(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise UnreadableProjectError(
            error(
                "pyproject-missing",
                str(file),
                f"{file.parent} has no pyproject.toml: it is no package.",
                "Write one, or have a whole package written: underpaint plugins new NAME.",
            )
        )
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as reason:
        raise UnreadableProjectError(
            error(
                "pyproject-unreadable",
                file.name,
                f"pyproject.toml is no TOML: {reason}.",
                "Correct it at the place that the message names.",
            )
        ) from reason
