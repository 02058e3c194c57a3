"""Evaluate every row of a step, and keep a pullback of those that a gradient goes through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from underpaint.guidance import Guidance
from underpaint.layout import Layout
from underpaint.outputs import Cotangents, Outputs, RowPullback
from underpaint.packing import reads_source
from underpaint.records import Half
from underpaint.step import Step


def linearize_through(
    step: Step, through: Iterable[tuple[str, Half]]
) -> tuple[Outputs, RowPullback]:
    """Return the outputs of all rows and a pullback onto the latents, ``[R, C, h, w]`` too.

    The rows of the (branch, half) pairs in `through`, and those that attention edits join to them,
    are linearised; the others are evaluated without a gradient, and are zero in the pullback's
    result. No row is computed twice.
    """
    near, far = split_rows(step, through)
    parts, pull = [], None
    if near:
        linear, pull = step.linearize(rows=_part(step.layout, near))
        parts.append(linear)
    if far:
        parts.append(step.evaluate(rows=_part(step.layout, far)))
    outputs = _join(parts, step.layout, torch.tensor([*near, *far]).argsort())

    def pullback(cotangents: Cotangents) -> Tensor:
        gradient = torch.zeros_like(outputs.noise)
        if pull is not None:
            gradient[near] = pull(_pick(cotangents, near))
        return gradient

    return outputs, pullback


def through_of(guidances: Iterable[Guidance]) -> set[tuple[str, Half]]:
    """Return the (branch, half) pairs that the gradients of guidances go through."""
    return {(branch, half) for g in guidances for branch in g.branches for half in g.halves}


def split_rows(
    step: Step, through: Iterable[tuple[str, Half]]
) -> tuple[Sequence[int], Sequence[int]]:
    """Return the rows that are linearised and the others."""
    chosen = _joined(step, through)
    rows = step.layout.rows
    near = [i for i, row in enumerate(rows) if (row.branch, row.half) in chosen]
    return near, [i for i in range(len(rows)) if i not in set(near)]


def _joined(step: Step, pairs: Iterable[tuple[str, Half]]) -> set[tuple[str, Half]]:
    """Add the pairs that an edit reads from or writes to, until there are no more."""
    found = set(pairs)
    links = [
        {(edit.source, edit.half), (edit.target, edit.half)}
        for edit in step.edits
        if reads_source(edit)
    ]
    while more := [link for link in links if link & found and not link <= found]:
        found = found.union(*more)
    return found


def _part(layout: Layout, rows: Sequence[int]) -> Layout:
    return replace(layout, rows=tuple(layout.rows[i] for i in rows))


def _pick(cotangents: Cotangents, rows: Sequence[int]) -> Cotangents:
    def pick(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value[rows] for name, value in values.items()}

    noise = cotangents.noise
    return Cotangents(
        None if noise is None else noise[rows], pick(cotangents.maps), pick(cotangents.features)
    )


def _join(parts: Sequence[Outputs], layout: Layout, order: Tensor) -> Outputs:
    """Put the rows of several evaluations into the order of `layout`."""
    first, *others = parts
    if not others:
        return first

    def join(values: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(values))[order.to(values[0].device)]

    maps = [part.maps.values for part in parts if part.maps is not None]
    return replace(
        first,
        layout=layout,
        noise=join([part.noise for part in parts]),
        maps=first.maps
        and replace(
            first.maps,
            layout=layout,
            values={site: join([each[site] for each in maps]) for site in first.maps.values},
        ),
        features={name: join([p.features[name] for p in parts]) for name in first.features},
    )
