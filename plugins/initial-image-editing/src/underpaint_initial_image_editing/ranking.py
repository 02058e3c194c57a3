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


def best_first(prompts: Sequence[str], scores: Sequence[float]) -> list[int]:
    """Return the order of all images; those of a prompt keep its places among themselves."""
    order = list(range(len(prompts)))
    for prompt in dict.fromkeys(prompts):
        places = [index for index, other in enumerate(prompts) if other == prompt]
        ranked = sorted(places, key=lambda index: -scores[index])
        for place, index in zip(places, ranked, strict=True):
            order[place] = index
    return order
