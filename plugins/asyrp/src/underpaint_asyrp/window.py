"""When to edit and when to add noise, from a perceptual distance (arXiv 2210.10960, section 3.4).

Along the inversion of pictures x two curves are measured: how far the predicted picture P_t, and
how far the noised one x_t, is from x. `t_edit` is where P_t first differs enough that an edit from
there on can still change it; `t_boost` where x_t does.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from underpaint.arguments import Pictures
from underpaint.method import Method, hookimpl
from underpaint.pipeline import Pipeline
from underpaint.records import MAIN, Prediction
from underpaint.run import Run
from underpaint.step import Step

Distance = Callable[[Tensor, Tensor], Tensor]
"""A perceptual distance ``[B]`` of images ``[B, 3, H, W]`` around [0, 1]."""

Found = dict[int, list[tuple[Tensor, Tensor]]]
"""Level -> the distances ``[I]`` of P_t and x_t; a large call comes in several parts."""


@dataclass(frozen=True)
class Thresholds:
    """What a curve has to reach.

    The paper's 0.33 and 1.2 hold for LPIPS (AlexNet, inputs in [-1, 1]): ``Thresholds(0.33, 1.2,
    relative=False)``. For any other distance they are parts of each curve's greatest value. The
    defaults are what picturebook's CLIP says at the noise levels where LPIPS reaches the paper's:
    over its five models the median alphas_cumprod is 0.20 for P_t and 0.71 for x_t.

    Attributes
    ----------
    edit : for P_t; it is multiplied by the cosine of the source's and the target's text features.
    boost : for x_t.
    relative : whether they are parts of the greatest value.
    """

    edit: float = 0.3
    boost: float = 0.1
    relative: bool = True


@dataclass(frozen=True)
class Curves:
    """Mean distances of pictures along their inversion, cleanest level first.

    Attributes
    ----------
    levels : the timesteps.
    predicted : of P_t from x.
    noised : of x_t from x.
    likeness : cosine of the text features of what the pictures show and what they become.
    """

    levels: tuple[int, ...]
    predicted: tuple[float, ...]
    noised: tuple[float, ...]
    likeness: float = 1.0

    def t_edit(self, thresholds: Thresholds | None = None) -> int:
        """Return the least level to edit: the less alike the texts, the lower."""
        given = thresholds or Thresholds()
        return self._crossing(self.predicted, given.edit * self.likeness, given.relative)

    def t_boost(self, thresholds: Thresholds | None = None) -> int:
        """Return the level below which fresh noise is added."""
        given = thresholds or Thresholds()
        return self._crossing(self.noised, given.boost, given.relative)

    def _crossing(self, curve: Sequence[float], threshold: float, relative: bool) -> int:
        """Return the *first* level that reaches the threshold: the curves are not monotone."""
        least = threshold * max(curve) if relative else threshold
        reached = (t for t, value in zip(self.levels, curve, strict=True) if value >= least)
        return next(reached, self.levels[-1])


def measure_curves(
    pipe: Pipeline,
    images: Pictures,
    prompt: str | Sequence[str],
    *,
    target: str | None = None,
    distance: Distance | None = None,
    num_inference_steps: int | None = None,
) -> Curves:
    """Measure the distances along the inversion of pictures.

    Parameters
    ----------
    pipe : with a scorer, unless `distance` is given.
    images, prompt : the pictures, and what they show: one text for all, or one each.
    target : what they become; None leaves the texts out.
    distance : in place of that of the model's scorer.
    num_inference_steps : of the inversion.

    Raises
    ------
    NotOfferedError
        If there is neither a distance nor a scorer.
    """
    found, alike = Found({}), list[float]()
    edit = Measuring.model_construct(found=found, alike=alike, target=target, distance=distance)
    pipe.invert(images, prompt, edits=[edit], num_inference_steps=num_inference_steps, cache=False)
    levels = tuple(sorted(found))
    predicted, noised = (
        tuple(float(torch.cat([pair[curve] for pair in found[t]]).mean()) for t in levels)
        for curve in (0, 1)
    )
    return Curves(levels, predicted, noised, sum(alike) / len(alike) if alike else 1.0)


class Measuring(Method):
    """An edit of inversions that changes nothing; it fills `found` and `alike`."""

    method: ClassVar[str] = "asyrp.measuring"

    found: Found
    alike: list[float]
    target: str | None = None
    distance: Distance | None = None

    def start(self) -> MeasuringRun:
        """Return the plugin of one run."""
        return MeasuringRun(self)

    def describe(self) -> dict[str, Any]:
        """Return the name alone: what is to be filled is no parameter."""
        return {"method": self.method}


class MeasuringRun:
    """One run: the pictures as the VAE gives them back, whose own error is not to count."""

    def __init__(self, edit: Measuring) -> None:
        self.edit = edit
        self.pictures: Tensor | None = None

    @hookimpl(wrapper=True)
    def predict(self, step: Step) -> Generator[None, Prediction, Prediction]:
        """Measure how far P_t and x_t are from the picture."""
        prediction = yield
        main = step.layout.trajectories_of(MAIN)
        noised = step.run.decode(step.latents[main])
        if self.pictures is None:  # the first move begins at the clean latents
            self.pictures = noised
            self._compare_texts(step.run)
            return prediction
        distance = self.edit.distance or step.run.scorer.distance
        predicted = step.run.decode(prediction.x0[main])
        pair = distance(self.pictures, predicted), distance(self.pictures, noised)
        self.edit.found.setdefault(step.move.t, []).append(pair)
        return prediction

    def _compare_texts(self, run: Run) -> None:
        if self.edit.target is not None:
            shown = run.scorer.text_features(run.request.prompts)
            become = run.scorer.text_features([self.edit.target])
            self.edit.alike.extend((shown * become).sum(-1).tolist())
