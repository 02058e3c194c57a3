"""The tries of one re-painting, best first."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from underpaint.errors import NotOfferedError
from underpaint.run import Run


def score(run: Run, pictures: Tensor, texts: Sequence[str]) -> list[float] | None:
    """Return CLIP's cosine of each picture ``[I, 3, H, W]`` and its text; None without a scorer."""
    try:
        scorer = run.scorer
    except NotOfferedError:
        return None
    seen, said = scorer.image_features(pictures), scorer.text_features(texts)  # [I, D], unit
    cosines: list[float] = (seen * said.to(seen)).sum(1).tolist()
    return cosines
