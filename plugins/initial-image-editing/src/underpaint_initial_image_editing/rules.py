"""Which blocks go where: the paper's rule and the published code's (arXiv 2305.03382, sec. 5.2).

Objects are numbered k, places of the map n. Objects choose in turn, and a block that one has
chosen is not taken by the next.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from underpaint_initial_image_editing.blocks import close_chains

Rule = Literal["threshold", "ranking"]


def plan_swap(maps: Tensor, boxes: Tensor, rule: Rule, lots: Tensor | None) -> Tensor:
    """Return where each place's block comes from, int64 ``[N]``: a permutation.

    Each object takes as many blocks as its box has places. Those that lie there already stay;
    the others are paired with the box's remaining places.

    Parameters
    ----------
    maps : cross-attention to each object's word, ``[K, N]``.
    boxes : the places of each object, bool ``[K, N]``, disjoint.
    rule : "threshold" takes the greatest values: those from A_min up, the s-th largest value of a
        map whose box has s places. "ranking" takes first what is an object's own.
    lots : a number for each place, ``[N]``, by which blocks are paired at random; None pairs them
        in the order of their index.
    """
    moves: dict[int, int] = {}
    taken = torch.zeros(boxes.shape[1], dtype=torch.bool)
    for preference, box in zip(preferences(maps, rule), boxes, strict=True):
        chosen = preference[~taken[preference]][: int(box.sum())]
        taken[chosen] = True
        coming = chosen[~box[chosen]].sort().values
        if lots is not None:
            coming = coming[lots[coming].argsort()]
        places = box.clone()
        places[chosen] = False
        moves |= zip(coming.tolist(), places.nonzero().flatten().tolist(), strict=True)
    return close_chains(moves, boxes.shape[1])


def preferences(maps: Tensor, rule: Rule) -> Tensor:
    """Return the places in the order in which each object wants their blocks, int64 ``[K, N]``.

    For "ranking" each map ``[K, N]`` is divided by its mean and a place belongs to the object with
    the greatest value. An object wants its own places first, the greatest value first; then the
    others', those first that their owner wants least.
    """
    if rule == "threshold":
        return maps.argsort(dim=1, descending=True, stable=True)
    share = maps / maps.mean(1, keepdim=True)
    own = share.argmax(0) == torch.arange(len(maps), device=maps.device)[:, None]
    score = torch.where(own, share, -share.amax(0))
    return score.argsort(dim=1, descending=True, stable=True)
