"""Bundles and plans made on first use, kept for the next time.

An entry's name is a digest of everything that its content depends on, so that another model,
another precision or another version is another entry. Entries appear whole, are checked before they
are opened, and are made again if anything of them has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock
from underpaint import registry, trajectory_cache
from underpaint.cache_folder import cache_folder
from underpaint.errors import InvalidRequestError, ModelLoadError, TrajectoryMismatchError
from underpaint.precision import dtype_name
from underpaint.trajectory import Trajectory

from underpaint_engines.bundle import Manifest, read_manifest, verify
from underpaint_engines.checkpoint import Checkpoint, open_checkpoint
from underpaint_engines.plans import SUFFIX, Plans, read, read_header
from underpaint_engines.runtime import Runtime

LIMIT_VARIABLE = "UNDERPAINT_CACHE_GB"
USUAL_LIMIT_GB = 20.0
PLANS = "plans"
"""The folder of plans within the cache."""
STALE_SECONDS = 24 * 3600
"""Age from which an unfinished entry is taken for what an interrupted export or build left."""

_PACKAGES = ("underpaint", "torch", "diffusers", "transformers", "onnx", "onnxscript")


@dataclass(frozen=True)
class Entry:
    """One bundle, plan or trajectory of the cache; `problem` says why it cannot be used.

    `path` is a bundle's folder or a file, `model` a bundle's model, what a plan is of, or how a
    trajectory was made.
    """

    path: Path
    model: str
    dtype: str
    size: int
    """In bytes."""
    used: float
    """When it was last opened, in seconds since the epoch."""
    problem: str | None


def cached(source: str | Path, *, name: str, runtime: Runtime) -> Path:
    """Return the bundle of a checkpoint, whole and checked; make it if need be.

    Of several processes that ask at once, one exports and the others wait for it.
    """
    checkpoint = open_checkpoint(source)
    return _made(bundles_folder() / _key(checkpoint.digest, runtime), checkpoint, runtime, name)


def _made(
    folder: Path, checkpoint: Checkpoint, runtime: Runtime, name: str, **options: Any
) -> Path:
    """Return an entry, whole and checked; of several that ask at once, one exports."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if _problem(folder) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            export = registry.load("exporters", runtime.name)
            export(checkpoint.folder, folder, runtime=runtime, name=name, **options)
            prune(keep=[folder])
    os.utime(folder)
    return folder


def cached_gradients(
    source: str | Path, size: tuple[int, int], *, name: str, runtime: Runtime, beside: Path
) -> Path:
    """Return the bundle with a checkpoint's graph of gradients for latents of `size`.

    It is an entry of its own, made when a run first asks for a gradient; its weights are links to
    those of the bundle `beside`.
    """
    checkpoint = open_checkpoint(source)
    folder = bundles_folder() / _key(checkpoint.digest, runtime, gradients=size)
    options = {"size": size, "beside": beside}
    return _made(folder, checkpoint, runtime, name, gradients=options)


def bundles_folder() -> Path:
    """Return where bundles are kept."""
    return cache_folder() / "bundles"


def cached_plans() -> Plans:
    """Return the cache's plans."""
    return Plans(bundles_folder() / PLANS)


def entries(*, check: bool = False) -> list[Entry]:
    """Return what the cache holds, the longest unused first.

    `check` compares every file with its digest.
    """
    whole = [path for path in _paths() if not path.name.startswith(".")]
    found = [_entry(path, check) for path in whole]
    return sorted(found, key=lambda entry: entry.used)


def prune(keep: Collection[Path] = (), *, everything: bool = False) -> list[Path]:
    """Remove the longest unused entries until the rest is within the limit; return what went.

    What an interrupted export or build left goes as well. `keep` stays.
    """
    now = time.time()
    gone = [
        each
        for each in _paths()
        if each.name.startswith(".") and now - each.stat().st_mtime > STALE_SECONDS
    ]
    found = entries()
    total = sum(entry.size for entry in found)
    limit = 0.0 if everything else _limit()
    for entry in found:
        if entry.path in keep or (entry.problem is None and total <= limit):
            continue
        gone.append(entry.path)
        total -= entry.size
    for path in gone:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    return gone


def _key(digest: str, runtime: Runtime, **further: object) -> str:
    content = {
        **further,
        "model": digest,
        "graphs": [dtype_name(runtime.dtype), runtime.opset],
        "runtime": {runtime.name: runtime.versions},
        "packages": {name: version(name) for name in _PACKAGES},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _paths() -> Iterator[Path]:
    """Return the folders of bundles, and the files of plans and trajectories, whole or not."""
    yield from trajectory_cache.files()
    root = bundles_folder()
    for each in root.iterdir() if root.is_dir() else ():
        if each.name == PLANS:
            yield from (file for file in each.iterdir() if SUFFIX in file.suffixes)
        elif each.is_dir():
            yield each


def _entry(path: Path, check: bool) -> Entry:
    if path.is_dir():
        return _bundle(path, check)
    return _trajectory(path) if path.suffix == trajectory_cache.SUFFIX else _plan(path, check)


def _trajectory(file: Path) -> Entry:
    try:
        made, problem = Trajectory.load(file).made_by, None
    except TrajectoryMismatchError as error:
        made, problem = "", str(error)
    return Entry(
        path=file,
        model=made,
        dtype="",
        size=file.stat().st_size,
        used=file.stat().st_mtime,
        problem=problem,
    )


def _plan(file: Path, check: bool) -> Entry:
    header = read_header(file)
    broken = header is None or (check and read(file) is None)
    return Entry(
        path=file,
        model=header.what if header else "",
        dtype=header.dtype if header else "",
        size=file.stat().st_size,
        used=file.stat().st_mtime,
        problem=f"{file} has changed since it was written." if broken else None,
    )


def _bundle(folder: Path, check: bool) -> Entry:
    manifest = _manifest(folder)
    return Entry(
        path=folder,
        model=manifest.info.name if manifest else "",
        dtype=manifest.dtype if manifest else "",
        size=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
        used=folder.stat().st_mtime,
        problem=_problem(folder) if check or manifest is None else None,
    )


def _manifest(folder: Path) -> Manifest | None:
    try:
        return read_manifest(folder)
    except ModelLoadError:
        return None


def _problem(folder: Path) -> str | None:
    """Return why a bundle cannot be opened, or None."""
    try:
        verify(folder, read_manifest(folder))
    except ModelLoadError as error:
        return str(error)
    return None


def _limit() -> float:
    given = os.environ.get(LIMIT_VARIABLE, str(USUAL_LIMIT_GB))
    try:
        return float(given) * 1e9
    except ValueError as error:
        raise InvalidRequestError(
            f"{LIMIT_VARIABLE}={given!r} is no number of gigabytes; give e.g. 20."
        ) from error


def describe(found: Sequence[Entry]) -> list[dict[str, object]]:
    """Return entries as JSON."""
    return [
        {
            "path": str(entry.path),
            "model": entry.model,
            "dtype": entry.dtype,
            "bytes": entry.size,
            "used": entry.used,
            "problem": entry.problem,
        }
        for entry in found
    ]
