"""Whose error it was: the plugin and the hook among the frames of a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from traceback import walk_tb
from types import CodeType, FrameType


def annotate(
    error: BaseException,
    where: str,
    plugins: Mapping[str, object],
    codes: Mapping[CodeType, tuple[str, str]],
) -> None:
    """Add a note to an error that a plugin raised: plugin, hook, and `where`.

    `codes` are those of the plugins' hooks and of the functions that these define, each with the
    names of plugin and hook; see `registration.check_plugin`.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    blamed = None
    for frame, called in zip_longest(frames, frames[1:]):
        # A wrapper that waits at its yield is on the way of every error below it.
        waits = called is not None and called.f_code.co_name == "_multicall"
        if not waits:
            blamed = _hook_of(frame, plugins, codes) or blamed or _energy_of(frame, plugins)
    if blamed:
        name, hook = blamed
        error.add_note(f"underpaint: raised by plugin {name!r} in hook {hook!r}, {where}")


def _hook_of(
    frame: FrameType, plugins: Mapping[str, object], codes: Mapping[CodeType, tuple[str, str]]
) -> tuple[str, str] | None:
    if frame.f_code not in codes:
        return None
    name, hook = codes[frame.f_code]
    return _name_of(frame, plugins) or name, hook


def _energy_of(frame: FrameType, plugins: Mapping[str, object]) -> tuple[str, str] | None:
    """Core calls no other method of a plugin than its hooks and its energies."""
    name = _name_of(frame, plugins)
    return (name, "guidance") if name else None


def _name_of(frame: FrameType, plugins: Mapping[str, object]) -> str | None:
    owner = frame.f_locals.get("self")
    return next((name for name, plugin in plugins.items() if plugin is owner), None)
