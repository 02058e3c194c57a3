"""How a hook's argument is given up: implementations that take it are warned, and still get it."""

from __future__ import annotations


class HookDeprecationWarning(DeprecationWarning):
    """A hook implementation takes an argument that a later version of the hooks will not have."""


def deprecated_arguments(since: str, **instead: str) -> dict[str, Warning]:
    """Return what ``@hookspec(warn_on_impl_args=...)`` takes, for arguments that are to go.

    pluggy issues the warning when a plugin that takes the argument is registered, and shows the
    implementation's file and line.

    Parameters
    ----------
    since : the version of the hooks (`underpaint.hookspecs.VERSION`) that deprecates them.
    instead : name of each argument -> what its authors should do, as a sentence.
    """
    return {
        name: HookDeprecationWarning(
            f"The argument {name!r} is deprecated since hooks {since} and goes with the next "
            f"major version. {mend}"
        )
        for name, mend in instead.items()
    }
