"""The errors underpaint raises: each says who, what, and what to do next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class UnderpaintError(Exception):
    """Base of every error that underpaint raises on purpose."""


class InvalidRequestError(UnderpaintError, ValueError):
    """A value of a call cannot be used; the message names the valid choices."""


class UnknownNameError(UnderpaintError, LookupError):
    """A method, engine, model, command or edit parameter of that name is not installed."""


class UnknownWordError(UnderpaintError, LookupError):
    """A word or phrase does not stand in the prompt."""


class UnknownSiteError(UnderpaintError, LookupError):
    """No attention or activation site of the model matches a selector."""


class ModelLoadError(UnderpaintError):
    """A checkpoint is missing, corrupt, unsafe (pickle) or no Stable Diffusion."""


class NotOfferedError(UnderpaintError):
    """The engine or the model does not offer what an edit needs."""


class PluginError(UnderpaintError):
    """A plugin breaks a rule of the hook specification."""


class ConflictError(PluginError):
    """Two plugins claim the same thing; the message names both."""


class TrajectoryMismatchError(UnderpaintError):
    """A trajectory was made with another model or another schedule."""


class NonFiniteError(UnderpaintError, ArithmeticError):
    """NaN or infinity where numbers were expected."""


class ExplodingGradientError(UnderpaintError, ArithmeticError):
    """A guidance would change a step by many times what is there; the message names the plugin."""


class CancelledError(UnderpaintError):
    """The call was cancelled from another thread; nothing was written."""


def choices(asked: str, valid: Iterable[str]) -> str:
    """Return the end of a message: the valid names, and the nearest one if a slip is likely."""
    names = sorted(set(valid))
    nearest = get_close_matches(asked, names, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"Valid: {', '.join(map(repr, names)) or '(none)'}.{hint}"


def check_finite(name: str, value: Tensor) -> Tensor:
    """Return `value`, or raise NonFiniteError naming it."""
    finite = value.isfinite()
    if not bool(finite.all()):
        bad = int((~finite).sum())
        raise NonFiniteError(f"{name} holds {bad} NaN or infinite values of {value.numel()}.")
    return value
