"""The mask at the size of the latent, and how it shrinks while the picture is denoised."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from underpaint.errors import InvalidRequestError


@dataclass(frozen=True, eq=False)
class Masks:
    """Where pictures are edited, by pixels and by the latent's cells; 1 is edited.

    Attributes
    ----------
    pixels : ``[1 or I, 1, H, W]``.
    cells : ``[1 or I, 1, h, w]``.
    touched : ``[1 or I, 1, h, w]``, 1 for every cell of which a pixel is edited at all.
    thin : whether the mask has parts that fill no cell by half.
    """

    pixels: Tensor
    cells: Tensor
    touched: Tensor
    thin: bool

    @classmethod
    def of(cls, pixels: Tensor, factor: int, soft: bool) -> Masks:
        """Bring a mask to the latent's size: a cell is edited if half of it is.

        A part of the mask that fills no cell by half would vanish, so there every cell that it
        touches is edited. With `soft` a cell has the mean of its pixels.

        Raises
        ------
        InvalidRequestError
            If no cell would be kept.
        """
        average, most = F.avg_pool2d(pixels, factor), F.max_pool2d(pixels, factor)
        filled = (most > 0) & (average >= most / 2)
        thin = (most > 0) & (dilate(filled.float(), 3) == 0)
        cells = torch.where(thin, most, average) if soft else (filled | thin).float()
        if (cells.amin((1, 2, 3)) == 1).any():
            raise InvalidRequestError(
                "The mask covers the whole picture: nothing would be kept. Give a smaller mask, or "
                "make a picture of the prompt alone, without this edit."
            )
        return cls(pixels, cells, (most > 0).float(), bool(thin.any()))

    @property
    def reach(self) -> Tensor:
        """The pixels of all touched cells, ``[1 or I, 1, H, W]``: outside nothing may change."""
        return F.interpolate(self.touched, size=self.pixels.shape[-2:])

    def at(self, index: int, moves: int, dilations: int) -> Tensor:
        """Return the cells that are edited after a move, ``[1 or I, 1, h, w]``.

        Progressive mask shrinking: `dilations` masks from large to small (for 3, squares of 7, 5
        and 3 cells), then the mask itself; each for as many moves, the last for what is left (13,
        13, 13 and 11 of 50), and always for the last move.
        """
        interval = moves // (dilations + 1) + 1
        stage = dilations if index == moves - 1 else min(index // interval, dilations)
        return dilate(self.cells, 2 * (dilations - stage) + 1)


def dilate(mask: Tensor, side: int) -> Tensor:
    """Grow a mask ``[.., 1, h, w]`` by a square of `side` cells (odd)."""
    return F.max_pool2d(mask, side, stride=1, padding=side // 2)
