"""Inversions kept for the next edit of the same picture, under a digest of all they depend on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import underpaint
from underpaint.cache_folder import cache_folder
from underpaint.errors import TrajectoryMismatchError
from underpaint.trajectory import Trajectory

FOLDER = "trajectories"
SUFFIX = ".safetensors"
LIMIT_BYTES = 2 * 2**30
"""The least recently used go when there is more."""


def key_of(facts: Mapping[str, Any]) -> str:
    """Return the name of an inversion that depends on these facts, and on this version."""
    text = json.dumps({**facts, "underpaint": underpaint.__version__}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def find(key: str) -> Trajectory | None:
    """Return a kept trajectory; None if there is none, or it is no longer what was written."""
    path = _path(key)
    try:
        trajectory = Trajectory.load(path)
    except TrajectoryMismatchError:
        return None
    path.touch()
    return trajectory


def keep(key: str, trajectory: Trajectory) -> None:
    """Keep a trajectory, and let go of the least recently used beyond the limit."""
    trajectory.save(_path(key))
    total = 0
    for path in sorted(files(), key=lambda each: each.stat().st_mtime, reverse=True):
        total += path.stat().st_size
        if total > LIMIT_BYTES:
            path.unlink(missing_ok=True)


def files() -> Iterator[Path]:
    """Return the files of all kept trajectories."""
    return (cache_folder() / FOLDER).glob(f"*{SUFFIX}")


def _path(key: str) -> Path:
    return cache_folder() / FOLDER / f"{key}{SUFFIX}"
