"""Which row of a batch is which image, branch and half of classifier-free guidance.

Trajectories are ordered image-major: ``image * len(branches) + branch``. Rows are ordered
half-major, as everywhere in Stable Diffusion: all uncond rows, then all cond rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from underpaint.errors import InvalidRequestError, choices
from underpaint.records import Half

HALVES: tuple[Half, Half] = ("uncond", "cond")


@dataclass(frozen=True)
class Row:
    """One row of a UNet batch."""

    image: int
    branch: str
    half: Half


@dataclass(frozen=True)
class Layout:
    """The rows of one UNet batch.

    Attributes
    ----------
    images : number of images I.
    branches : all branches of the run, in trajectory order.
    guided : the branches that have an uncond row.
    rows : the rows, half-major.
    """

    images: int
    branches: tuple[str, ...]
    guided: frozenset[str]
    rows: tuple[Row, ...]

    @classmethod
    def of(cls, images: int, branches: Iterable[str], guided: Iterable[str]) -> Layout:
        """Lay out a whole run: `guided` names the branches that have an uncond row."""
        names, with_uncond = tuple(branches), frozenset(guided)
        rows = tuple(
            Row(image, branch, half)
            for half in HALVES
            for image in range(images)
            for branch in names
            if half == "cond" or branch in with_uncond
        )
        return cls(images, names, with_uncond, rows)

    def subset(self, branches: Iterable[str] | None, halves: Iterable[Half] | None) -> Layout:
        """Return the rows of some branches and halves; None keeps all."""
        if branches is None and halves is None:
            return self
        names = self.branches if branches is None else tuple(map(self._known, branches))
        wanted = HALVES if halves is None else tuple(halves)
        rows = tuple(r for r in self.rows if r.branch in names and r.half in wanted)
        return Layout(self.images, self.branches, self.guided, rows)

    @property
    def trajectories(self) -> int:
        """Number of trajectories T = images x branches."""
        return self.images * len(self.branches)

    def trajectories_of(self, branch: str) -> list[int]:
        """Return the trajectory indices of a branch, in image order."""
        place = self.branches.index(self._known(branch))
        return [image * len(self.branches) + place for image in range(self.images)]

    def rows_of(self, branch: str, half: Half) -> list[int]:
        """Return the row indices of a branch and half, in image order; empty if it has none."""
        return self._index.get((self._known(branch), half), [])

    def spread(self, latents: Tensor) -> Tensor:
        """Copy trajectories ``[T, ...]`` into rows ``[R, ...]``."""
        return latents.index_select(0, self.trajectory_of_row.to(latents.device))

    def select(self, values: Tensor, branch: str, half: Half) -> Tensor:
        """Return the rows of a branch and half of ``[R, ...]``, in image order.

        Rows that follow one another are a view, others a copy.
        """
        key = (self._known(branch), half, values.device)
        if key not in self._selections:
            self._selections[key] = _as_index(self.rows_of(branch, half), values.device)
        return values[self._selections[key]]

    @cached_property
    def trajectory_of_row(self) -> Tensor:
        """The trajectory of each row, int64 ``[R]``: gathers latents into rows."""
        place = {name: i for i, name in enumerate(self.branches)}
        width = len(self.branches)
        return torch.tensor([r.image * width + place[r.branch] for r in self.rows])

    @cached_property
    def _selections(self) -> dict[tuple[str, Half, torch.device], slice | Tensor]:
        """What `select` has looked up: a list as an index costs ten times as much."""
        return {}

    @cached_property
    def _index(self) -> dict[tuple[str, Half], list[int]]:
        index: dict[tuple[str, Half], list[int]] = {}
        for number, row in enumerate(self.rows):
            index.setdefault((row.branch, row.half), []).append(number)
        return index

    def _known(self, branch: str) -> str:
        if branch not in self.branches:
            raise InvalidRequestError(
                f"Unknown branch {branch!r}. {choices(branch, self.branches)}"
            )
        return branch


def _as_index(rows: Sequence[int], device: torch.device) -> slice | Tensor:
    """Return a slice for rows that follow one another, else a tensor."""
    if not rows:
        return slice(0)
    if list(rows) == list(range(rows[0], rows[-1] + 1)):
        return slice(rows[0], rows[-1] + 1)
    return torch.tensor(rows, device=device)
