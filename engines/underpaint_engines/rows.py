"""Choosing the rows of a batch that a gradient reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def row_axis(name: str) -> int:
    """Return which axis of an input counts rows; the self gates have sites first."""
    return 1 if name.startswith("self_") else 0


def with_values(cotangents: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    """Return the cotangents that are not all zero, and the rows ``[r]`` where any is not."""
    by_row = {name: value.flatten(1).ne(0).any(1) for name, value in cotangents.items()}
    live = {name: cotangents[name] for name, reached in by_row.items() if reached.any()}
    any_row = torch.stack(list(by_row.values())).any(0)
    return live, any_row.nonzero().flatten()


def closed(rows: Tensor, source_row: Tensor) -> Tensor:
    """Return `rows` with all rows that their edits read, in order."""
    wanted = torch.zeros(len(source_row), dtype=torch.bool, device=rows.device)
    sources = source_row.to(rows.device)
    while not wanted[rows].all():
        wanted[rows] = True
        rows = sources[rows]
    return wanted.nonzero().flatten()


def chosen(inputs: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """Return these rows of every input; `source_row` counts among them."""
    some = {
        name: value.index_select(row_axis(name), rows.to(value.device))
        for name, value in inputs.items()
    }
    sources = some["source_row"].to(rows.device)
    some["source_row"] = (sources.unsqueeze(1) == rows).int().argmax(1)
    return some


def loss_scale(cotangents: Sequence[Tensor]) -> Tensor:
    """Return a power of two, once for each row ``[R]``, that brings the greatest value near 1.

    Edits carry gradients from row to row, so all rows have the same. Powers of two are exact, so
    that fp32 is what it was; fp16 would lose what lies below 6e-8.
    """
    greatest = torch.stack([value.abs().amax() for value in cotangents]).amax()
    usual = torch.where(greatest.isfinite() & (greatest > 0), greatest, 1.0)
    exponent = usual.log2().floor().clamp(-100, 100)
    return torch.exp2(-exponent).expand(len(cotangents[0]))
