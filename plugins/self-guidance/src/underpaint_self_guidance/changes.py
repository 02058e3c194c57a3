"""What is asked of the objects, in Python and on the command line.

Each description is a record that JSON holds, and that reads a short text: first the word or phrase,
then the values, with or without their names: ``cat right 0.2``, ``cat:right=0.2``, ``bus 1.5``,
``red cat image=other.png``.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from underpaint_self_guidance.placement import Placement, Point

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)$")
_NUMBERS = re.compile(r"[-+.\d]+(,[-+.\d]+)+$")


class Change(BaseModel):
    """Something to do with the object that a word or phrase of the prompt names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: ClassVar[str] = ""
    """The field whose name may be left out in a text."""

    word: str = Field(min_length=1, description="A word or phrase of the prompt.")
    occurrence: int | None = Field(
        None, ge=1, description="Which of several equal ones, from 1; left out: all together."
    )

    @model_validator(mode="before")
    @classmethod
    def read(cls, given: Any) -> Any:
        """Read the short text; everything else is left to pydantic."""
        return _read(given, cls) if isinstance(given, str) else given


class Placing(Change):
    """A change of an object's place, size or turn."""

    def placement(self) -> Placement:
        """Return where the object goes."""
        raise NotImplementedError


class Move(Placing):
    """Move an object: by fractions of the picture, or to a place."""

    right: float = Field(0.0, ge=-1, le=1, description="Part of the picture's width.")
    left: float = Field(0.0, ge=-1, le=1, description="The same, the other way.")
    down: float = Field(0.0, ge=-1, le=1, description="Part of the picture's height.")
    up: float = Field(0.0, ge=-1, le=1, description="The same, the other way.")
    to: Point | None = Field(None, description="x and y of its new centre, 0 to 1, instead.")

    @model_validator(mode="after")
    def _one_way(self) -> Move:
        if self.to is not None and any((self.right, self.left, self.down, self.up)):
            raise ValueError("give either a place (to) or a distance, not both")
        if self.to is not None and not all(0 <= part <= 1 for part in self.to):
            raise ValueError("to: give x and y from 0 (left, top) to 1 (right, bottom)")
        return self

    def placement(self) -> Placement:
        """Return the shift, or the place."""
        return Placement((self.right - self.left, self.down - self.up), self.to)


class Resize(Placing):
    """Make an object larger or smaller, about its centre."""

    first: ClassVar[str] = "factor"

    factor: float = Field(gt=0, le=10, description="Of its width and height.")

    def placement(self) -> Placement:
        """Return the scaling."""
        return Placement(factor=self.factor)


class Rotate(Placing):
    """Turn an object about its centre."""

    first: ClassVar[str] = "degrees"

    degrees: float = Field(ge=-360, le=360, description="Clockwise.")

    def placement(self) -> Placement:
        """Return the turn."""
        return Placement(degrees=self.degrees)


class Borrow(Change):
    """Take a property of an object from another picture.

    The picture is a file, or what `prompt` and `seed` generate beside the call.
    """

    first: ClassVar[str] = "image"
    properties: ClassVar[frozenset[str]] = frozenset()
    """What is taken: ``shape``, ``appearance``."""

    image: Path | None = Field(None, description="A picture; left out: it is generated.")
    prompt: str | None = Field(None, description="What it shows; left out: the call's prompt.")
    like: str | None = Field(None, description="The object's word there; left out: the same.")
    seed: int | None = Field(None, ge=0, description="Of its noise; left out: the call's.")

    @model_validator(mode="after")
    def _another(self) -> Borrow:
        if self.image is None and self.prompt is None and self.seed is None and self.like is None:
            raise ValueError("say which picture: image, prompt or seed; or which word: like")
        return self


class AppearanceOf(Borrow):
    """Give an object the look of another one."""

    properties: ClassVar[frozenset[str]] = frozenset({"appearance"})


class LayoutOf(Borrow):
    """Give an object the place and outline of another one."""

    properties: ClassVar[frozenset[str]] = frozenset({"shape"})


class Collage(Borrow):
    """Take an object's place, outline and look from another picture."""

    properties: ClassVar[frozenset[str]] = frozenset({"shape", "appearance"})


def _read(text: str, change: type[Change]) -> dict[str, Any]:
    """Split ``word name value ...`` into fields; see the module's examples."""
    names = sorted(set(change.model_fields) - {"word"})
    text = re.sub(r"^([\w '’-]+?)\s*:\s*", r"\1 ", text)  # word:
    text = re.sub(rf"[\s,]*\b({'|'.join(names)})\s*=\s*", r" \1 ", text)  # name=
    parts = _split(text)
    begins = (k for k, part in enumerate(parts) if k and (part in names or _NUMBER.match(part)))
    start = next(begins, len(parts))
    if change.first == "image" and start > 1 and Path(parts[start - 1]).suffix:
        start -= 1  # a file stands before the names, if there is one
    values: dict[str, Any] = {"word": " ".join(parts[:start])}
    name = change.first
    for part in parts[start:]:
        if part in names:
            name = part
        elif not name:
            raise ValueError(f"{text!r}: say what {part!r} is, one of {', '.join(names)}")
        else:
            values[name] = [*values[name], part] if name in values else [part]
    return {name: value[0] if len(value) == 1 else value for name, value in values.items()} | {
        "word": values["word"]
    }


def _split(text: str) -> list[str]:
    """Split at white space, outside of quotes, and numbers at commas."""
    parts = shlex.split(text)
    return [
        piece for part in parts for piece in (part.split(",") if _NUMBERS.match(part) else [part])
    ]
