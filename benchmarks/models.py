"""The models that are timed: the embedded one, and random weights in SD1.5's size."""

from __future__ import annotations

import shutil
from pathlib import Path

from platformdirs import user_cache_path
from underpaint import registry

from benchmarks.full_size import save_full_size_checkpoint

NAMES = ("picturebook", "sd15-size")


def locate(name: str) -> str:
    """Return a model's folder; the full-size one is written when it is first asked for (4 GB)."""
    if name == "picturebook":
        return str(registry.load("models", name)())
    folder = user_cache_path("underpaint") / "benchmarks" / "sd15-size"
    if not folder.exists():
        partial = folder.with_name("partial")
        shutil.rmtree(partial, ignore_errors=True)
        save_full_size_checkpoint(partial).rename(folder)
    return str(Path(folder))
