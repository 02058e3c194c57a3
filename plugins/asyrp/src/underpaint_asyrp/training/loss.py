"""The directional loss (arXiv 2210.10960, eq. 6; arXiv 2108.00946, section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from underpaint.run import Scorer

LEAST_LENGTH = 1e-3
"""Length below which a change of the picture has no direction worth following."""


@dataclass(frozen=True, eq=False)
class TextDirection:
    """Where the texts lead in CLIP's space, for each picture.

    Attributes
    ----------
    change : ``[I, D]``, ``E_T(target) - E_T(source)``.
    likeness : ``[I]``, the cosine of the two.
    """

    change: Tensor
    likeness: Tensor

    @classmethod
    def of(cls, scorer: Scorer, sources: Sequence[str], targets: Sequence[str]) -> TextDirection:
        """Compare texts."""
        before, after = scorer.text_features(sources), scorer.text_features(targets)
        return cls(after - before, (before * after).sum(-1))


@dataclass(frozen=True)
class LossWeights:
    """Of the loss's parts: the change that CLIP sees, and the change of the pixels."""

    clip: float
    l1: float


def asyrp_loss(
    scorer: Scorer, before: Tensor, after: Tensor, text: TextDirection, weights: LossWeights
) -> Tensor:
    """Return the loss of each picture ``[I]``, from pictures ``[I, 3, H, W]`` around [0, 1].

    ``w_clip * -log((2 - L) / 2) + w_l1 * cos(E_T, E_T') * |P' - P|_1`` with the directional loss
    ``L = 1 - cos(E_I(P') - E_I(P), E_T' - E_T)``, and pixels in [-1, 1].
    """
    change = scorer.image_features(after) - scorer.image_features(before)  # [I, D]
    # Not F.cosine_similarity: below its eps the gradient is not that of its value.
    along = F.normalize(change, dim=-1, eps=LEAST_LENGTH) * F.normalize(text.change, dim=-1)
    loss = 1 - along.sum(-1)  # [I]
    kept = 2 * (after - before).abs().flatten(1).mean(1)
    part: Tensor = -torch.log((2 - loss) / 2)
    return weights.clip * part + weights.l1 * text.likeness * kept
