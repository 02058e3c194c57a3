"""Metrics that need no weights: of pictures uint8 [H, W, 3] and a mask bool [H, W].

What is outside of the mask is compared with the source, from which it should not differ; what is
inside with the expected result. A value that does not exist (nothing outside) is NaN.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity
from skimage.transform import resize

from benchmarks.picturebench.items import Item
from benchmarks.picturebench.scenes import Mask, Pixels

PSNR_CAP = 60.0
"""What equal pictures get in dB, in place of infinity: an error of a quarter of a level."""

ATTENTION_THRESHOLD = 0.5
"""Part of the map's range above which a place counts as attended to."""

CORE_METRICS = (
    "psnr_outside", "ssim_outside", "mse_outside", "psnr_inside", "ssim_inside", "mse_inside",
    "locality", "seam", "attention_iou",
)  # fmt: skip


def core_metrics(
    item: Item, edited: Pixels, attention: NDArray[np.float32] | None
) -> dict[str, float]:
    """Return all of them; `attention` is the map of the item's word, [rows, columns]."""
    outside = fidelity(edited, item.picture, ~item.mask)
    inside = dict.fromkeys(outside, math.nan)
    seam_score = math.nan
    if item.truth is not None:
        inside = fidelity(edited, item.truth.picture, item.mask)
        seam_score = seam(edited, (item.picture, item.truth.picture), item.mask)
    overlap = math.nan if attention is None else attention_iou(attention, item.focus_mask)
    return {
        **{f"{name}_outside": value for name, value in outside.items()},
        **{f"{name}_inside": value for name, value in inside.items()},
        "locality": locality(edited, item.picture, item.mask),
        "seam": seam_score,
        "attention_iou": overlap,
    }


def fidelity(picture: Pixels, reference: Pixels, where: Mask) -> dict[str, float]:
    """Return PSNR in dB (up to `PSNR_CAP`), SSIM, and the MSE of values in [0, 1].

    SSIM is the mean of its map over the mask; its windows of 7x7 reach beyond the edge.
    """
    if not where.any():
        return dict.fromkeys(("psnr", "ssim", "mse"), math.nan)
    own, other = picture[where] / 255.0, reference[where] / 255.0
    error = float(mean_squared_error(own, other))
    ratio = PSNR_CAP
    if error > 0:
        ratio = min(float(peak_signal_noise_ratio(other, own, data_range=1.0)), PSNR_CAP)
    _, similarity = structural_similarity(picture, reference, channel_axis=2, full=True)
    return {"psnr": ratio, "ssim": float(similarity[where].mean()), "mse": error}


def locality(edited: Pixels, source: Pixels, mask: Mask) -> float:
    """Return the part of all absolute change that lies inside of the mask, 1 is best.

    NaN where nothing changed, and where the mask is the whole picture.
    """
    change = np.abs(edited.astype(np.int16) - source).sum(-1, dtype=np.int64)
    total = int(change.sum())
    return float(change[mask].sum() / total) if total and not mask.all() else math.nan


def seam(edited: Pixels, references: tuple[Pixels, ...], mask: Mask) -> float:
    """Return the step across the mask's border that no reference has, in levels of 255.

    Each pair of neighbours on both sides of the border counts with the mean absolute difference
    of its colours, less the largest that the source or the expected result has there.
    """
    excess = []
    for axis in (0, 1):
        border = np.diff(mask, axis=axis)
        steps = [_steps(picture, axis)[border] for picture in (edited, *references)]
        excess.append(np.maximum(steps[0] - np.maximum.reduce(steps[1:]), 0))
    values = np.concatenate(excess)
    return float(values.mean()) if values.size else math.nan


def _steps(picture: Pixels, axis: int) -> NDArray[np.float64]:
    return np.asarray(np.abs(np.diff(picture.astype(np.float64), axis=axis)).mean(-1))


def attention_iou(attention: NDArray[np.float32], mask: Mask) -> float:
    """Return the IoU of a mask and of a map [rows, columns] over half of its range.

    The map is enlarged to the mask's size, bilinearly. NaN for a map that is the same everywhere.
    """
    low, high = float(attention.min()), float(attention.max())
    if not high > low:
        return math.nan
    large = resize((attention - low) / (high - low), mask.shape, order=1)
    attended = large >= ATTENTION_THRESHOLD
    return float((attended & mask).sum() / (attended | mask).sum())
