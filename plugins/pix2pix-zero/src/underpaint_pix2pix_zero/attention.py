"""Cross-attention guidance (arXiv 2302.03027, section 3.2): keep the maps near the reference's."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from underpaint.errors import PluginError
from underpaint.guidance import Observation
from underpaint.layout import HALVES
from underpaint.maps import AttentionMaps
from underpaint.outputs import Cotangents, Outputs
from underpaint.records import MAIN, Prediction, Tap
from underpaint.sites import SiteSelector
from underpaint.step import Step

REFERENCE = "reference"
"""The branch that is not edited."""

CROSS = SiteSelector("cross")
MAPS = Tap(CROSS, heads="all")
"""What is compared: every cross-attention map, of every head and size."""


def map_distance(seen: Observation) -> Tensor:
    """Return ``|M_edit - M_ref|^2`` ``[I]`` of the conditional rows (eq. 5).

    Summed over sites, pixels and tokens, a mean over heads, as the published code has it.
    """
    maps = _cross(seen.maps)
    reference = maps.of(REFERENCE)
    distances = [
        (edited - reference[site].detach()).square().sum((2, 3)).mean(1)
        for site, edited in maps.of(MAIN).items()
    ]
    return torch.stack(distances).sum(0)


def guide_by_row(step: Step, prediction: Prediction, scale: float) -> Prediction:
    """Guide as the published code does: each half's row moves on its own.

    Both halves' maps count. The noise is predicted at both moved latents, and the step goes on
    from that of the first half, the unconditional one: the other's move shows in its noise alone.
    """
    halves = [half for half in HALVES if step.layout.rows_of(MAIN, half)]
    outputs, pullback = step.linearize(sample=prediction.sample, branches=(MAIN,), taps=(MAPS,))
    moves = scale * pullback(Cotangents(maps=_pull_to(outputs, prediction)))  # [R', C, h, w]
    place = step.layout.trajectories_of(MAIN)
    samples, noise = [], prediction.outputs.noise.clone()
    for half in halves:
        sample = prediction.sample.clone()
        sample[place] -= moves[outputs.layout.rows_of(MAIN, half)]
        again = step.evaluate(sample=sample, branches=(MAIN,), halves=(half,), taps=())
        noise[step.layout.rows_of(MAIN, half)] = again.of(MAIN, half)
        samples.append(sample)
    before = step.combine(prediction.outputs)
    moved = replace(prediction.outputs, sample=samples[0], noise=noise)
    # The change, rather than the new noise itself, keeps what edits before this one added.
    after = prediction.noise + step.combine(moved) - before
    return replace(prediction, sample=samples[0], outputs=moved).with_noise(after)


def _pull_to(outputs: Outputs, prediction: Prediction) -> dict[str, Tensor]:
    """Return the gradient of the distance, a mean over halves too, by the rows of `outputs`."""
    seen, reference = _cross(outputs.maps), _cross(prediction.maps)
    halves = [half for half in HALVES if seen.layout.rows_of(MAIN, half)]
    cotangents = {}
    for site, value in seen.values.items():
        gradient = torch.zeros_like(value)  # [R', H, N, L]
        for half in halves:
            rows = seen.layout.rows_of(MAIN, half)
            apart = value[rows] - reference.of(REFERENCE, half)[site]
            gradient[rows] = 2 * apart / (len(halves) * value.shape[1])
        cotangents[site.name] = gradient
    return cotangents


def _cross(maps: AttentionMaps | None) -> AttentionMaps:
    if maps is None:
        raise PluginError("pix2pix-zero compares attention maps, and this step has read none.")
    return maps.select(CROSS)
