"""How different several pictures are: the mean distance of two of them (arXiv 2206.02779, 5)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import torch
from torch import Tensor
from underpaint import Pipeline

from benchmarks.picturebench.metrics_paper import load_lpips, missing_for_lpips, refuse_missing

Distance = Callable[[Tensor, Tensor], Tensor]
"""Of two batches of pictures [N, 3, H, W] in [0, 1], by pair [N]."""


def load_distances(pipe: Pipeline, lpips: Path | None) -> dict[str, Distance]:
    """Return the distances there are: ``scorer``, the model's own, and ``lpips`` from a folder.

    Raises
    ------
    MissingWeightsError
        If a folder was given and it, or a package that LPIPS needs, is incomplete.
    """
    distances: dict[str, Distance] = {}
    offered = getattr(pipe.engine, "scorer", None)
    scorer = pipe.scorer or (offered() if offered else None)
    if scorer is not None and hasattr(scorer, "distance"):
        distances["scorer"] = scorer.distance
    if lpips is not None:
        refuse_missing(missing_for_lpips(lpips))
        network = load_lpips(lpips)
        distances["lpips"] = lambda first, second: network(first * 2 - 1, second * 2 - 1).flatten()
    return distances


@torch.no_grad()
def diversity(images: Tensor, distance: Distance) -> float | None:
    """Return the mean distance of two of some images ``[I, 3, H, W]``; None if there are no two."""
    if len(images) < 2:
        return None
    first, second = (list(each) for each in zip(*combinations(images.clamp(0, 1), 2), strict=True))
    return float(distance(torch.stack(first), torch.stack(second)).mean())
