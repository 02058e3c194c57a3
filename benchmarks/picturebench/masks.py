"""Where an edit may change a picture: from what differs between two scenes, and as run lengths."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from underpaint_picturebook.backgrounds import BACKGROUNDS, SIDE

from benchmarks.picturebench.scenes import Drawn, Mask, SceneSpec

RIM = 2
"""Rows above the horizon that the ground reaches, by the bicubic enlargement of the background."""


def edit_mask(source: SceneSpec, target: SceneSpec, before: Drawn, after: Drawn) -> Mask:
    """Return where the two pictures may differ, bool [256, 256]; everywhere else they are equal.

    Objects that differ count with the places of both scenes. Another background counts wherever
    no object hides all of it, and where the sky stays the same, below the horizon alone.
    """
    if source.style != target.style:
        return np.ones((SIDE, SIDE), dtype=np.bool_)
    mask = np.zeros((SIDE, SIDE), dtype=np.bool_)
    if source.background != target.background:
        hidden = _union(before.solid) & _union(after.solid)
        mask |= _background_area(source, target) & ~hidden
    old, new = ({each.slot: each.placed for each in spec.things} for spec in (source, target))
    for slot in old.keys() | new.keys():
        if old.get(slot) != new.get(slot):
            for drawn in (before, after):
                mask |= drawn.cover.get(slot, False)
    return mask


def _background_area(source: SceneSpec, target: SceneSpec) -> Mask:
    area = np.ones((SIDE, SIDE), dtype=np.bool_)
    first, second = BACKGROUNDS[source.background], BACKGROUNDS[target.background]
    same_sky = (first.sky, first.stars, first.flakes) == (second.sky, second.stars, second.flakes)
    if same_sky and first.has_ground and second.has_ground:
        area[: round(SIDE * source.horizon) - RIM] = False
    return area


def _union(masks: dict[int, Mask]) -> Mask:
    return np.asarray(np.any(list(masks.values()), axis=0))


def encode_runs(mask: Mask) -> list[int]:
    """Return a mask [h, w] as ``[start, length, start, length, ...]`` in row-major order."""
    edges = np.diff(mask.ravel().astype(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [int(v) for v in np.stack([starts, ends - starts], 1).ravel()]


def decode_runs(runs: Sequence[int], shape: tuple[int, int]) -> Mask:
    """Return the mask [h, w] of ``[start, length, start, length, ...]``; the last run is cut.

    Raises
    ------
    ValueError
        If the numbers are no pairs, are negative, or a run starts beyond the end.
    """
    size = shape[0] * shape[1]
    if len(runs) % 2:
        raise ValueError(f"{len(runs)} numbers, which are no pairs of start and length")
    flat = np.zeros(size, dtype=np.bool_)
    for start, length in zip(runs[::2], runs[1::2], strict=True):
        if not 0 <= start < size or length < 0:
            raise ValueError(f"a run of {length} from {start} in a mask of {size} pixels")
        flat[start : start + length] = True
    return flat.reshape(shape)
