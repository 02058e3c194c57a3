"""What is installed: methods, engines, their offers, exporters, models, commands; by entry point.

Nothing is imported until it is asked for by name.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, get_args

from underpaint.errors import PluginError, UnknownNameError, choices

Group = Literal["methods", "engines", "offers", "exporters", "models", "commands"]

GROUPS: tuple[Group, ...] = get_args(Group)


def find(group: Group) -> dict[str, EntryPoint]:
    """Return the installed entry points of ``underpaint.<group>`` by name, in name order.

    Raises
    ------
    PluginError
        If two distributions install the same name.
    """
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=f"underpaint.{group}"), key=lambda p: p.name):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise PluginError(
                f"{_origin(other)} and {_origin(point)} both install the name {point.name!r} in "
                f"underpaint.{group}. Uninstall one of them."
            )
    return found


def load(group: Group, name: str) -> Any:
    """Import and return what is installed under `name`.

    Raises
    ------
    UnknownNameError
        If nothing is installed under that name; the message lists what is.
    PluginError
        If it cannot be imported.
    """
    installed = find(group)
    if name not in installed:
        raise UnknownNameError(
            f"No {_singular(group)} named {name!r} is installed. {choices(name, installed)} "
            f"If a package provides it, install that first, e.g. pip install underpaint-{name}."
        )
    try:
        return installed[name].load()
    except (ImportError, AttributeError) as error:
        point = installed[name]
        raise PluginError(
            f"The {_singular(group)} {name!r} of {_origin(point)} cannot be imported: {error}. "
            f"{_remedy(point)}"
        ) from error


def locate_model(source: str | Path) -> tuple[str, str | Path]:
    """Return a model's name and where to load it from: an installed model, a folder, a hub name.

    Raises
    ------
    UnknownNameError
        If `source` is none of them.
    """
    text = str(source)
    if text in find("models"):
        return text, load("models", text)()
    path = Path(source).expanduser()
    if path.is_dir():
        return path.name, path
    if text.count("/") == 1 and not text.startswith((".", "/", "~")) and not path.exists():
        return text, text
    raise UnknownNameError(
        f"No model {text!r}: not installed, no folder, no hub name of the form owner/name. "
        f"{choices(text, find('models'))} `underpaint models list` shows what is installed."
    )


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def optional(point: EntryPoint) -> str | None:
    """Return what pip installs to bring an optional part, e.g. ``underpaint[onnxruntime]``."""
    extras = (point.dist.metadata.get_all("Provides-Extra") if point.dist else None) or []
    return f"{_origin(point)}[{point.name}]" if point.name in extras else None


def _remedy(point: EntryPoint) -> str:
    wanted = optional(point)
    return f"Install what it needs: pip install '{wanted}'" if wanted else "Reinstall the package."


def _singular(group: Group) -> str:
    return group.removesuffix("s")
