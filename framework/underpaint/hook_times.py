"""Where a call's time goes: each hook of each plugin at each step, by itself.

A hook that calls others (core's `predict` asks `guidance` and `combine`) does not count their
time, nor does a wrapper that of what it wraps; so the sum of all is the time spent in hooks. What
the UNet takes is in core's `predict`, or in the hook of a plugin that evaluates it again. On a
device that computes asynchronously a hook's time is what it takes to launch the work, not to do it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial, wraps
from time import perf_counter
from typing import Any, Literal

import pluggy

from underpaint.method import PROJECT

Stage = Literal["edit", "inversion", "tuning"]
Key = tuple[Stage, str, str, int | None]

ENERGY = "energy"
"""Stands in the place of a hook where the energy of a `Guidance` is evaluated."""


@dataclass(frozen=True)
class HookTime:
    """Calls of one hook of one plugin at one step, and the seconds they took by themselves.

    `stage` says in which run: the edit's own, the picture's inversion, or the tuning along its
    path. `step` is None before the first step and after the last one.
    """

    stage: Stage
    plugin: str
    hook: str
    step: int | None
    calls: int
    seconds: float


@dataclass(eq=False)
class HookTimes:
    """Collects the times of a call that it is given to: ``pipe(..., trace_hooks=HookTimes())``.

    Given to several calls it adds them up; calls at the same time need one each.
    """

    _spent: dict[Key, tuple[int, float]] = field(default_factory=dict, init=False, repr=False)

    @property
    def entries(self) -> tuple[HookTime, ...]:
        """All times, in the order of the first calls."""
        return tuple(HookTime(*key, *spent) for key, spent in self._spent.items())

    def totals(self) -> dict[tuple[str, str], tuple[int, float]]:
        """Return calls and seconds by plugin and hook, the longest first."""
        found: dict[tuple[str, str], tuple[int, float]] = {}
        for (_, plugin, hook, _), (calls, seconds) in self._spent.items():
            before = found.get((plugin, hook), (0, 0.0))
            found[plugin, hook] = (before[0] + calls, before[1] + seconds)
        return dict(sorted(found.items(), key=lambda item: -item[1][1]))

    def describe(self) -> list[dict[str, Any]]:
        """Return the JSON form of all entries."""
        return [asdict(entry) for entry in self.entries]

    def add(self, key: Key, calls: int, seconds: float) -> None:
        """Add calls and seconds."""
        before = self._spent.get(key, (0, 0.0))
        self._spent[key] = (before[0] + calls, before[1] + seconds)


class HookTimer:
    """Times the hooks of one stage's runs; `timed` makes what is registered in a plugin's place."""

    def __init__(self, times: HookTimes, stage: Stage) -> None:
        self.times = times
        self.stage: Stage = stage
        self.step: int | None = None
        self._inner = [0.0]
        """Seconds within the sections that are open, spent in sections of their own."""

    def watch(self, manager: pluggy.PluginManager) -> None:
        """Learn from each hook call which step it belongs to."""

        def before(_hook: str, _implementations: object, arguments: Mapping[str, object]) -> None:
            self.step = getattr(arguments.get("step"), "index", None)

        manager.add_hookcall_monitoring(before, lambda *_: None)

    def timed(self, name: str, plugin: object) -> object:
        """Return an object with the plugin's hooks, each of which is timed."""
        twin = _Twin()
        for attribute in dir(plugin):
            function = getattr(plugin, attribute)
            options = getattr(function, f"{PROJECT}_impl", None)
            if options is not None:
                hook = options.get("specname") or attribute
                wraps_others = options["wrapper"] or options["hookwrapper"]
                timed = self._wrapper if wraps_others else self.plain
                setattr(twin, attribute, timed(function, name, hook))
        return twin

    def plain(self, function: Callable[..., Any], plugin: str, hook: str) -> Callable[..., Any]:
        """Return a function that is timed as a hook of a plugin."""

        @wraps(function)
        def call(*arguments: Any) -> Any:
            with self._section(plugin, hook):
                return function(*arguments)

        return call

    def _wrapper(self, function: Callable[..., Any], plugin: str, hook: str) -> Callable[..., Any]:
        """Return the same for a wrapper: the time at its yield is that of what it wraps."""

        @wraps(function)
        def call(*arguments: Any) -> Generator[Any, Any, Any]:
            with self._section(plugin, hook):
                waiting = function(*arguments)
                next(waiting)
            try:
                value = yield
            except BaseException as error:
                # Without this frame of ours, so that nobody takes the plugin for the one to blame.
                below = error.__traceback__ and error.__traceback__.tb_next
                with self._section(plugin, hook, calls=0):
                    return _last(partial(waiting.throw, error.with_traceback(below)))
            with self._section(plugin, hook, calls=0):
                return _last(partial(waiting.send, value))

        return call

    @contextmanager
    def _section(self, plugin: str, hook: str, calls: int = 1) -> Iterator[None]:
        key, started = (self.stage, plugin, hook, self.step), perf_counter()
        self._inner.append(0.0)
        try:
            yield
        finally:
            whole = perf_counter() - started
            self.times.add(key, calls, whole - self._inner.pop())
            self._inner[-1] += whole


class _Twin:
    """Holds the timed hooks of a plugin."""


def _last(resume: Callable[[], Any]) -> Any:
    """Return what a generator returns when it is resumed for the last time."""
    try:
        resume()
    except StopIteration as end:
        return end.value
    raise RuntimeError("A wrapper has a second yield.")
