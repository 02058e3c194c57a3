"""What is checked when a plugin is registered: the rules that pluggy is silent about."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

from underpaint import hookspecs
from underpaint.errors import PluginError, choices
from underpaint.method import PROJECT

SPECIFICATIONS: dict[str, Callable[..., Any]] = {
    name: value for name, value in vars(hookspecs).items() if hasattr(value, f"{PROJECT}_spec")
}
"""Every hook with its specification, in call order."""


@dataclass(frozen=True)
class Implementation:
    """A method of a plugin that implements a hook, with the options of its ``hookimpl``."""

    hook: str
    function: Callable[..., Any]
    options: Mapping[str, Any]

    @property
    def arguments(self) -> Mapping[str, inspect.Parameter]:
        """What the method takes, without ``self``."""
        return inspect.signature(self.function).parameters


@dataclass(frozen=True)
class Problem:
    """A rule that a plugin breaks: which one, what is wrong, and what to do about it."""

    code: str
    what: str
    mend: str


def check_plugin(name: str, plugin: object) -> dict[CodeType, tuple[str, str]]:
    """Check a plugin instance against the rules that pluggy is silent about.

    Returns the code objects of each hook implementation, and of the functions it defines (such as
    energies), with the plugin's and the hook's name.

    Raises
    ------
    PluginError
        For an unknown hook or argument, a default or keyword-only argument, a plugin compared by
        value, a plugin without hooks, or one that replaces `predict`.
    """
    found = implementations(plugin)
    for problem in find_problems(name, plugin, found):
        raise PluginError(f"{problem.what} {problem.mend}")
    return {
        code: (name, each.hook)
        for each in found
        for code in _codes(inspect.unwrap(each.function).__code__)
    }


def implementations(plugin: object) -> list[Implementation]:
    """Return the hook implementations of a plugin, by the names of its attributes."""
    functions = {attribute: getattr(plugin, attribute) for attribute in dir(plugin)}
    marked = {
        attribute: getattr(function, f"{PROJECT}_impl", None)
        for attribute, function in functions.items()
    }
    return [
        Implementation(options.get("specname") or attribute, functions[attribute], options)
        for attribute, options in marked.items()
        if options is not None
    ]


def find_problems(name: str, plugin: object, found: Sequence[Implementation]) -> Iterator[Problem]:
    """Yield what is wrong with a plugin and its implementations; `name` is for the messages."""
    if type(plugin).__eq__ is not object.__eq__:
        yield Problem(
            "hook-equality",
            f"Plugin {name!r}: {type(plugin).__name__} is compared by value, and plugins are told "
            "apart by identity.",
            "Use a plain class, or @dataclass(eq=False).",
        )
    for each in found:
        yield from _of_implementation(name, each)
    if not found:
        yield Problem(
            "hook-none",
            f"Plugin {name!r} implements no hook:",
            "mark its methods with @underpaint.hookimpl.",
        )


def _of_implementation(name: str, found: Implementation) -> Iterator[Problem]:
    hook = found.hook
    if hook not in SPECIFICATIONS:
        yield Problem(
            "hook-unknown", f"Plugin {name!r}: no hook {hook!r}.", choices(hook, SPECIFICATIONS)
        )
        return
    valid = inspect.signature(SPECIFICATIONS[hook]).parameters
    for argument in found.arguments.values():
        who = f"Plugin {name!r}, hook {hook!r}:"
        if argument.name not in valid:
            yield Problem(
                "hook-argument",
                f"{who} unknown argument {argument.name!r}.",
                choices(argument.name, valid),
            )
        elif argument.default is not argument.empty or argument.kind is argument.KEYWORD_ONLY:
            yield Problem(
                "hook-argument-default",
                f"{who} argument {argument.name!r} has a default or is keyword-only, and would "
                "never receive a value.",
                "Make it plain.",
            )
    if hook == "predict" and not (found.options["wrapper"] or found.options["hookwrapper"]):
        yield Problem(
            "hook-replaces-predict",
            f"Plugin {name!r} replaces 'predict'.",
            "Wrap it with @hookimpl(wrapper=True), and call step.evaluate for further evaluations.",
        )


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
