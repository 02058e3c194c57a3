"""Plans that were compiled, kept for the next time, and what was measured or compiled for them.

A plan is code that a GPU will run: it is read from the cache alone, never from a folder that a user
names, and only where it is, byte for byte, what was written. One file holds one plan: a line of
JSON, which says what it is and gives its digest, and then the plan.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

SUFFIX = ".plan"


class Header(BaseModel):
    """The first line of a plan's file.

    Attributes
    ----------
    format : raised whenever the meaning of a file changes.
    what : for people, e.g. ``unet/edit_32x32.onnx on TensorRT-RTX``.
    dtype : that it computes in.
    digest : sha256 of what follows.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    what: str
    dtype: str
    digest: str


@dataclass(frozen=True)
class Plans:
    """The plans in one folder, by key."""

    folder: Path

    def file(self, key: Mapping[str, Any]) -> Path:
        """Return where the plan of a key is kept; the key is JSON-able and holds all that matters.

        Another value anywhere in the key is another file.
        """
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{digest[:32]}{SUFFIX}"

    def get(
        self, key: Mapping[str, Any], make: Callable[[], bytes], *, what: str, dtype: str
    ) -> bytes:
        """Return the plan of a key; make and keep it where there is none, or a broken one.

        Of several processes that ask at once, one makes it and the others wait.
        """
        file = self.file(key)
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            plan = read(file)
            if plan is None:
                plan = make()
                write(file, plan, what=what, dtype=dtype)
            os.utime(file)  # the longest unused plans go first
        return plan


def read(file: Path) -> bytes | None:
    """Return a plan; None where there is none, or it is not what was written."""
    try:
        with file.open("rb") as stream:
            header = Header.model_validate_json(stream.readline())
            plan = stream.read()
    except (OSError, ValidationError):
        return None
    return plan if hashlib.sha256(plan).hexdigest() == header.digest else None


def read_header(file: Path) -> Header | None:
    """Return what a file says of its plan, which is not looked at; None where it says nothing."""
    try:
        with file.open("rb") as stream:
            return Header.model_validate_json(stream.readline())
    except (OSError, ValidationError):
        return None


def write(file: Path, plan: bytes, *, what: str, dtype: str) -> None:
    """Write a plan; the file is there whole or not at all, even if the power fails."""
    header = Header(what=what, dtype=dtype, digest=hashlib.sha256(plan).hexdigest())
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{uuid4().hex}")
    try:
        with partial.open("wb") as stream:
            stream.write(header.model_dump_json().encode() + b"\n")
            stream.write(plan)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
