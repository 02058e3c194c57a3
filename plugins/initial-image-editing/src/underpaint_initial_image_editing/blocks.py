"""Blocks of the noise, and permutations of them.

A block is a square of latent cells that one place of a cross-attention map stands for: 4x4 cells
in Stable Diffusion at its 16x16 maps. What a block will become goes with its values, not with its
place (arXiv 2305.03382, sec. 4), so blocks are moved whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from underpaint.records import MAIN
from underpaint.run import Run


def permute_blocks(latents: Tensor, sources: Tensor, side: int) -> Tensor:
    """Return latents ``[B, C, h, w]`` whose block n is block ``sources[:, n]`` of the given ones.

    `sources` is int64 ``[B, N]``, `side` the cells along a block; blocks are counted row by row.
    """
    blocks = F.pixel_unshuffle(latents, side)  # [B, C * side^2, rows, columns]
    index = sources.to(latents.device)[:, None].expand(-1, blocks.shape[1], -1)
    return F.pixel_shuffle(blocks.flatten(2).gather(2, index).reshape(blocks.shape), side)


def close_chains(moves: Mapping[int, int], count: int) -> Tensor:
    """Extend moves of blocks (from -> to) to a permutation of all: sources, int64 ``[count]``.

    A block that is pushed out of its place goes to the one that the chain of moves began at. So a
    single move becomes a swap, and what no move touches stays.
    """
    sources = torch.arange(count)
    for start, end in moves.items():
        sources[end] = start
    vacated = moves.keys() - set(moves.values())
    for start in vacated:
        sources[start] = _end_of_chain(start, moves)
    return sources


def starting_alike(run: Run, latents: Tensor) -> Iterable[str]:
    """Yield the main branch and those that start on the same noise and on no trajectory.

    Methods that compare branches, such as Prompt-to-Prompt, rely on their common start.
    """
    start = latents[run.layout.trajectories_of(MAIN)]
    for branch in run.branches:
        own = latents[run.layout.trajectories_of(branch.name)]
        if branch.name == MAIN or (branch.trajectory is None and torch.equal(own, start)):
            yield branch.name


def _end_of_chain(start: int, moves: Mapping[int, int]) -> int:
    while start in moves:
        start = moves[start]
    return start
