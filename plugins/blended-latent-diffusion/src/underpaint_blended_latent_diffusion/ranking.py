"""Ranking of many predictions (paper: prediction ranking)."""

from __future__ import annotations

from torch import Tensor
from underpaint.run import Scorer

SCORE = "blended-latent-diffusion.score"
"""Report name of each image's score."""


def score(scorer: Scorer, images: Tensor, mask: Tensor, prompts: tuple[str, ...]) -> list[float]:
    """Return CLIP's cosine of each image inside of the mask with its prompt, ``[I]``.

    The images ``[I, 3, H, W]`` are black outside of the mask ``[1 or I, 1, H, W]``, not cut out.
    """
    seen, said = scorer.image_features(images * mask), scorer.text_features(prompts)
    return [float(value) for value in (seen * said.to(seen)).sum(-1)]
