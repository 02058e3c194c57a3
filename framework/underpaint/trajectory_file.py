"""Trajectories on disk: one safetensors file, its facts as JSON in the header."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from underpaint.errors import InvalidRequestError, TrajectoryMismatchError
from underpaint.records import check_finite
from underpaint.trajectory import Trajectory

FORMAT = "underpaint-trajectory-1"
_PIVOTS, _EMBEDDINGS = "pivots", "embeddings"


def save(trajectory: Trajectory, path: Path) -> None:
    """Write a trajectory, whole or not at all.

    Raises
    ------
    InvalidRequestError
        If the system refuses, with its reason.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(_encode(trajectory))
        draft.replace(path)
    except OSError as error:
        raise InvalidRequestError(f"Cannot write {path}: {error.strerror}.") from error
    finally:
        draft.unlink(missing_ok=True)


def load(path: Path) -> Trajectory:
    """Read a trajectory.

    Raises
    ------
    TrajectoryMismatchError
        If the file is missing, corrupt, or holds no trajectory.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get("underpaint", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _decode(facts, tensors)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise TrajectoryMismatchError(
            f"{path} is no trajectory that can be read ({error}). Make it again: "
            "underpaint invert IMAGE PROMPT -o FILE."
        ) from error


def _encode(trajectory: Trajectory) -> bytes:
    tensors = {_PIVOTS: trajectory.pivots.cpu().contiguous()}
    if trajectory.embeddings is not None:
        tensors[_EMBEDDINGS] = trajectory.embeddings.cpu().contiguous()
    facts = {
        "format": FORMAT,
        "levels": list(trajectory.levels),
        "prompts": list(trajectory.prompts),
        "made_by": trajectory.made_by,
        "model_digest": trajectory.model_digest,
        "digest": _digest(tensors),
    }
    return bytes(to_bytes(tensors, {"underpaint": json.dumps(facts)}))


def _decode(facts: dict[str, Any], tensors: dict[str, Tensor]) -> Trajectory:
    if facts.get("format") != FORMAT:
        raise ValueError(f"its format is {facts.get('format')!r}, not {FORMAT!r}")
    if facts["digest"] != _digest(tensors):
        raise ValueError("its content is not what was written")
    pivots = check_finite(_PIVOTS, tensors[_PIVOTS])
    if pivots.dim() != 5 or len(pivots) != len(facts["levels"]):
        raise ValueError(f"{tuple(pivots.shape)} pivots for {len(facts['levels'])} levels")
    return Trajectory(
        levels=tuple(facts["levels"]),
        pivots=pivots,
        prompts=tuple(facts["prompts"]),
        made_by=facts["made_by"],
        model_digest=facts["model_digest"],
        embeddings=tensors.get(_EMBEDDINGS),
    )


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}{tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
