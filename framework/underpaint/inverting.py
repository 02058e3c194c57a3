"""From a request with pictures to the path that they were inverted along."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from underpaint import registry, trajectory_cache
from underpaint.engine import Engine
from underpaint.errors import InvalidRequestError
from underpaint.inversion import PIVOTS, Inversion
from underpaint.method import Method
from underpaint.preparation import PreparedImages
from underpaint.recipe import make_recipe
from underpaint.request import Request
from underpaint.result import Result
from underpaint.trajectory import Trajectory

Serve = Callable[[Request], Result]
"""Runs a request to its latents."""


def invert(request: Request, engine: Engine, serve: Serve, *, cache: bool = True) -> Trajectory:
    """Return the path along which a request's pictures invert, from the cache if that has it.

    The key holds the pictures, the prompts, the schedule, the engine, and the edits that take part
    with the versions of their packages. With edits that JSON does not describe nothing is kept.

    Raises
    ------
    InvalidRequestError
        If the request has no pictures.
    """
    if request.image is None:
        raise InvalidRequestError("There is no picture to invert: pass image=...")
    recipe = make_recipe(request, engine)
    keyed = cache and recipe["reproducible"]
    versions = [_version(edit) for edit in request.edits]
    key = trajectory_cache.key_of({**recipe, "versions": versions})
    found = trajectory_cache.find(key) if keyed else None
    if found is not None:
        return found
    first = Inversion(refinements=request.refinements)
    inverting = replace(
        request,
        latents=_encode(request.image, engine).expand(request.images, *request.latent_shape),
        image=None,
        edits=(first, *request.edits),
    )
    reported = cast("list[tuple[tuple[int, ...], Tensor]]", serve(inverting).reports[PIVOTS])
    trajectory = Trajectory(
        levels=reported[0][0][::-1],
        pivots=torch.stack([pivots for _, pivots in reported], 1).flip(0).cpu(),
        prompts=request.prompts,
        made_by="+".join(["ddim-inversion", *(edit.method for edit in request.edits)]),
        model_digest=request.model.digest,
    )
    if keyed:
        trajectory_cache.keep(key, trajectory)
    return trajectory


def _encode(image: PreparedImages, engine: Engine) -> Tensor:
    with torch.no_grad():
        return engine.encode_image(image.pixels.to(engine.device)).float().cpu()


def _version(edit: Method) -> str:
    point = registry.find("methods").get(edit.method)
    return point.dist.version if point and point.dist else ""
