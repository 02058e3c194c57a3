"""The attention bias that layout by noise is best combined with (arXiv 2305.03382, sec. 5.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def box_bias(
    boxes: Tensor, words: Sequence[Sequence[tuple[int, ...]]], grid: tuple[int, int], length: int
) -> Tensor:
    """Return what is added to the logits of one cross-attention site at strength 1.

    At each place a word's tokens get the share of the place that the word's box covers.

    Parameters
    ----------
    boxes : places of each box at the level of the swap, bool ``[K, rows, columns]``.
    words : the tokens of each word, by image: I lists of K.
    grid : (rows, columns) of the site's queries, N in all.
    length : number of tokens L.

    Returns
    -------
    ``[I, N, L]``.
    """
    covered = F.interpolate(boxes[:, None].float(), grid, mode="area").flatten(1)  # [K, N]
    bias = torch.zeros(len(words), covered.shape[1], length)
    for row, found in zip(bias, words, strict=True):
        for share, tokens in zip(covered, found, strict=True):
            row[:, list(tokens)] = share[:, None]
    return bias
