"""What is checked when a plugin is registered: the rules that pluggy is silent about."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import CodeType
from typing import Any

from underpaint import hookspecs
from underpaint.errors import PluginError, choices
from underpaint.method import PROJECT

SPECIFICATIONS: dict[str, Callable[..., Any]] = {
    name: value for name, value in vars(hookspecs).items() if hasattr(value, f"{PROJECT}_spec")
}
"""Every hook with its specification, in call order."""


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
    if type(plugin).__eq__ is not object.__eq__:
        raise PluginError(
            f"Plugin {name!r}: {type(plugin).__name__} is compared by value, and plugins are told "
            "apart by identity. Use a plain class, or @dataclass(eq=False)."
        )
    found: dict[CodeType, tuple[str, str]] = {}
    for attribute in dir(plugin):
        function = getattr(plugin, attribute)
        options = getattr(function, f"{PROJECT}_impl", None)
        if options is not None:
            hook = options.get("specname") or attribute
            _check_implementation(name, hook, function, options)
            found |= dict.fromkeys(_codes(inspect.unwrap(function).__code__), (name, hook))
    if not found:
        raise PluginError(
            f"Plugin {name!r} implements no hook: mark its methods with @underpaint.hookimpl."
        )
    return found


def _check_implementation(
    name: str, hook: str, function: Callable[..., Any], options: Mapping[str, Any]
) -> None:
    if hook not in SPECIFICATIONS:
        raise PluginError(f"Plugin {name!r}: no hook {hook!r}. {choices(hook, SPECIFICATIONS)}")
    valid = inspect.signature(SPECIFICATIONS[hook]).parameters
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name not in valid:
            raise PluginError(
                f"Plugin {name!r}, hook {hook!r}: unknown argument {parameter.name!r}. "
                f"{choices(parameter.name, valid)}"
            )
        if parameter.default is not parameter.empty or parameter.kind is parameter.KEYWORD_ONLY:
            raise PluginError(
                f"Plugin {name!r}, hook {hook!r}: argument {parameter.name!r} has a default or is "
                "keyword-only, and would never receive a value. Make it plain."
            )
    if hook == "predict" and not (options["wrapper"] or options["hookwrapper"]):
        raise PluginError(
            f"Plugin {name!r} replaces 'predict'. Wrap it with @hookimpl(wrapper=True), "
            "and call step.evaluate for further evaluations."
        )


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
