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
from underpaint.trajectory import Trajectory, Tuned

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


def digest(trajectory: Trajectory) -> str:
    """Return a digest of a trajectory's tensors."""
    return _digest(_tensors(trajectory))


def _tensors(trajectory: Trajectory) -> dict[str, Tensor]:
    tensors = {_PIVOTS: trajectory.pivots.cpu().contiguous()}
    if trajectory.tuned is not None:
        tensors[_EMBEDDINGS] = trajectory.tuned.embeddings.cpu().contiguous()
    return tensors


def _encode(trajectory: Trajectory) -> bytes:
    tensors = _tensors(trajectory)
    facts = {
        "format": FORMAT,
        "levels": list(trajectory.levels),
        "prompts": list(trajectory.prompts),
        "made_by": trajectory.made_by,
        "model_digest": trajectory.model_digest,
        "tuned": trajectory.tuned and _facts(trajectory.tuned),
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
        tuned=_tuned(facts["tuned"], tensors[_EMBEDDINGS]) if facts.get("tuned") else None,
    )


def _facts(tuned: Tuned) -> dict[str, Any]:
    return {
        "levels": list(tuned.levels),
        "guidance_scale": tuned.guidance_scale,
        "negative_prompts": list(tuned.negative_prompts),
        "edit": dict(tuned.edit),
    }


def _tuned(facts: dict[str, Any], embeddings: Tensor) -> Tuned:
    levels, negatives = tuple(facts["levels"]), tuple(facts["negative_prompts"])
    expected = (len(levels) - 1, len(negatives))
    if embeddings.dim() != 4 or embeddings.shape[:2] != expected:
        raise ValueError(f"{tuple(embeddings.shape)} embeddings for (steps, images) {expected}")
    return Tuned(
        levels=levels,
        embeddings=check_finite(_EMBEDDINGS, embeddings),
        guidance_scale=facts["guidance_scale"],
        negative_prompts=negatives,
        edit=facts["edit"],
    )


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name}{tuple(tensors[name].shape)}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
