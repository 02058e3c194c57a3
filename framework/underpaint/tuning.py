"""Embeddings that are tuned along a picture's path once, and kept with it for every edit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from underpaint import registry, trajectory_cache
from underpaint.engine import Engine
from underpaint.errors import ConflictError, InvalidRequestError, TrajectoryMismatchError
from underpaint.method import Method
from underpaint.recipe import make_recipe
from underpaint.request import Request
from underpaint.result import Result
from underpaint.trajectory import Trajectory, Tuned
from underpaint.trajectory_file import digest

TUNED = "core.tuned"
"""Report name under which a tuning hands over its S+1 levels, noisiest first, and each image's
embeddings ``[S, L, d]``."""

Serve = Callable[[Request], Result]
"""Runs a request to its latents."""


def tune(request: Request, engine: Engine, serve: Serve) -> tuple[Trajectory | None, Sequence[str]]:
    """Return a request's trajectory with what its edits want tuned along it, and warnings.

    A trajectory that is tuned already, and a picture that was tuned before, cost nothing. Without
    a trajectory, guidance, or an edit that tunes there is nothing to do.

    Raises
    ------
    TrajectoryMismatchError
        If it was tuned already, for another call.
    ConflictError
        If two edits want to tune it.
    """
    path, edit = request.trajectory, tuning_edit(request.edits)
    if path is None or edit is None or request.guidance_scale <= 1:
        return path, ()
    tuning = _request(request, path, edit)
    if path.tuned is not None:
        _check(path.tuned, tuning)
        return path, ()
    key = _key(tuning, path, edit, engine)
    found = trajectory_cache.find(key) if key else None
    if found is not None:
        return found, ()
    result = serve(tuning)
    reported = cast("list[tuple[tuple[int, ...], Tensor]]", result.reports[TUNED])
    tuned = Tuned(
        levels=reported[0][0],
        embeddings=torch.stack([each for _, each in reported], 1).float().cpu(),
        guidance_scale=tuning.guidance_scale,
        negative_prompts=tuning.negative_prompts,
        edit=tuning.edits[0].describe(),
    )
    path = replace(path, tuned=tuned)
    if key:
        trajectory_cache.keep(key, path)
    return path, result.warnings


def tuning_edit(edits: Sequence[Method]) -> Method | None:
    """Return the edit that tunes embeddings along the picture's path, if one does.

    Raises
    ------
    ConflictError
        If two edits want to.
    """
    tuning = [edit for edit in edits if edit.tuning() is not None]
    if len(tuning) > 1:
        names = " and ".join(repr(edit.method) for edit in tuning)
        raise ConflictError(f"{names} both tune the embeddings of the picture. Use one of them.")
    return tuning[0] if tuning else None


def _request(request: Request, path: Trajectory, edit: Method) -> Request:
    """Return the request that tunes: one image a picture, without the call's edits."""
    if not path.prompts:
        raise InvalidRequestError(
            f"{edit.method} tunes along the path of an inversion, this one is of {path.made_by}. "
            "Pass image=..., or trajectory=pipe.invert(image, prompt)."
        )
    alone = path.pivots.shape[1] == 1 and len(set(request.negative_prompts)) == 1
    count = 1 if alone else request.images
    prompts = path.prompts * count if len(path.prompts) == 1 else path.prompts
    return replace(
        request,
        prompts=prompts,
        negative_prompts=request.negative_prompts[:count],
        seeds=(0,) * count,
        edits=(cast("Method", edit.tuning()),),
        eta=0.0,
        latents=None,
        attention_per_step=False,
        image=None,
        trajectory=replace(path, tuned=None),
        follow=False,
        refinements=0,
    )


def _check(tuned: Tuned, tuning: Request) -> None:
    """Raise TrajectoryMismatchError unless the embeddings are those that `tuning` would give."""
    negatives = tuning.negative_prompts
    same = tuned.negative_prompts * len(negatives) if len(tuned.negative_prompts) == 1 else ()
    facts: dict[str, tuple[Any, Any]] = {
        "edit": (dict(tuned.edit), tuning.edits[0].describe()),
        "guidance_scale": (tuned.guidance_scale, tuning.guidance_scale),
        "negative_prompt": (same or tuned.negative_prompts, negatives),
    }
    for name, (then, now) in facts.items():
        if then != now:
            raise TrajectoryMismatchError(
                f"The trajectory's embeddings were tuned for {name}={then!r}, the call has "
                f"{now!r}. Use the same, or a trajectory that pipe.invert made."
            )


def _key(tuning: Request, path: Trajectory, edit: Method, engine: Engine) -> str:
    """Return the name in the cache; empty where JSON does not describe the edit."""
    recipe = make_recipe(replace(tuning, trajectory=None), engine)
    if not recipe["reproducible"]:
        return ""
    point = registry.find("methods").get(edit.method)
    version = point.dist.version if point and point.dist else ""
    return trajectory_cache.key_of({**recipe, "path": digest(path), "version": version})
