"""Where an object goes: what several changes of one word come to, and maps moved that way."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from underpaint_self_guidance.properties import centroid, shape

Point = tuple[float, float]


@dataclass(frozen=True)
class Placement:
    """A shift, a scaling and a turn of an object, about its own centre.

    Attributes
    ----------
    shift : (x, y) in fractions of the picture, to the right and downward.
    to : (x, y) of its new centre, in place of a shift; None keeps to `shift`.
    factor : of its width and height.
    degrees : clockwise.
    """

    shift: Point = (0.0, 0.0)
    to: Point | None = None
    factor: float = 1.0
    degrees: float = 0.0

    @property
    def is_still(self) -> bool:
        """Whether it leaves the object as it is."""
        return self == Placement()

    def then(self, other: Placement) -> Placement:
        """Return both in one: shifts and degrees add up, factors multiply, the last `to` counts."""
        return replace(
            self,
            shift=(self.shift[0] + other.shift[0], self.shift[1] + other.shift[1]),
            to=self.to if other.to is None else other.to,
            factor=self.factor * other.factor,
            degrees=self.degrees + other.degrees,
        )

    def centre(self, old: Tensor) -> Tensor:
        """Return the new centre ``[..., 2]`` of an object whose centre was `old`."""
        if self.to is not None:
            return old.new_tensor(self.to).expand_as(old)
        return old + old.new_tensor(self.shift)

    def outline(self, maps: Tensor) -> Tensor:
        """Return the outlines ``[I, h, w]`` of objects, placed; `maps` show where they were."""
        outline = shape(maps)
        return outline if self.is_still else self.apply(outline[:, None], centroid(outline))[:, 0]

    def apply(
        self, maps: Tensor, old: Tensor, outside: Literal["zeros", "border"] = "zeros"
    ) -> Tensor:
        """Return maps ``[I, C, h, w]`` moved; `old` ``[I, 2]`` are the objects' centres.

        What comes in from outside the picture is 0, or like its border.
        """
        cells = _grid(maps)  # [h, w, 2]
        rest = cells - self.centre(old)[:, None, None]  # of each cell to the new centre
        turn = math.radians(self.degrees)
        back = maps.new_tensor(
            [[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]
        )
        asked = rest @ back.T / self.factor + old[:, None, None]  # where each cell comes from
        grid = asked * 2 - 1
        return F.grid_sample(maps, grid, padding_mode=outside, align_corners=False)


def _grid(maps: Tensor) -> Tensor:
    height, width = maps.shape[-2:]
    x, y = (
        (torch.arange(count, device=maps.device, dtype=maps.dtype) + 0.5) / count
        for count in (width, height)
    )
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
