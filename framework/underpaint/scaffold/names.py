"""The names of a new plugin, all from the one that its author chooses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import distributions
from importlib.util import find_spec

from underpaint import registry
from underpaint.errors import InvalidRequestError

LONGEST = 32
"""Longer names would break lines of the template where they are too long."""

RESERVED = frozenset(
    {"annotated", "class-var", "edit-session", "false", "field", "fraction", "none", "path"}
    | {"request", "step", "tensor", "true", "unknown-word-error"}
)
"""Names whose class Python or the template itself has a use for."""

_PATTERN = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_PREFIX = "underpaint-"


@dataclass(frozen=True)
class Names:
    """What a plugin is called.

    Attributes
    ----------
    name : of the method and its entry point, e.g. ``word-weight``.
    """

    name: str

    @property
    def distribution(self) -> str:
        """What pip installs: ``underpaint-word-weight``."""
        return _PREFIX + self.name

    @property
    def package(self) -> str:
        """What Python imports: ``underpaint_word_weight``."""
        return self.distribution.replace("-", "_")

    @property
    def class_name(self) -> str:
        """The method's class: ``WordWeight``."""
        return "".join(part.capitalize() for part in self.name.split("-"))

    @property
    def title(self) -> str:
        """The name in words: ``Word weight``."""
        return self.name.replace("-", " ").capitalize()


def check_name(name: str) -> Names:
    """Return the names of a new plugin.

    Raises
    ------
    InvalidRequestError
        If `name` is no name of a method, or one that is taken; the message says by whom.
    """
    if not _PATTERN.fullmatch(name) or len(name) > LONGEST:
        raise InvalidRequestError(
            f"{name!r} is no name of a method. Valid: lower-case letters and digits in words "
            f"joined by single hyphens, a letter first, at most {LONGEST} characters, such as "
            "'word-weight'."
        )
    if name.startswith(_PREFIX):
        short = name.removeprefix(_PREFIX)
        raise InvalidRequestError(
            f"{name!r}: give the method's name alone, {short!r}; the distribution is then {name!r}."
        )
    if name in RESERVED:
        raise InvalidRequestError(
            f"{name!r} is reserved: its class would be called as something that Python or the "
            f"template uses. Choose another name, such as '{name}-edit'."
        )
    names = Names(name)
    _check_free(names)
    return names


def _check_free(names: Names) -> None:
    owner = _owner(names)
    if owner is not None:
        raise InvalidRequestError(
            f"The name {names.name!r} is taken: {owner}. Choose another name; `underpaint plugins "
            "list` shows the methods that are installed."
        )


def _owner(names: Names) -> str | None:
    point = registry.find("methods").get(names.name)
    if point is not None:
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
        return f"{origin} installs a method of that name"
    for installed in distributions(name=names.distribution):
        return f"{names.distribution} {installed.version} is installed"
    taken = find_spec(names.package) is not None
    return f"a package {names.package} is there to be imported" if taken else None
