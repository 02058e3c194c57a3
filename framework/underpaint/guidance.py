"""An energy that a step goes down, and what it sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from underpaint.records import MAIN, Half, Into

if TYPE_CHECKING:
    from underpaint.maps import AttentionMaps


@dataclass(frozen=True, eq=False)
class Observation:
    """What an energy may look at; every tensor is differentiable.

    Attributes
    ----------
    sample, noise, x0 : ``[T, C, h, w]`` per trajectory, after classifier-free guidance.
    maps : attention maps of all rows, as tapped.
    features : activation name -> ``[R, C', h', w']``.
    """

    sample: Tensor
    noise: Tensor
    x0: Tensor
    maps: AttentionMaps | None
    features: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Guidance:
    """An energy to go down at one step.

    `energy` maps an `Observation` to one scalar per image ``[I]``. With ``into="noise"`` the
    gradient is added to epsilon, ``noise += scale * sqrt(1 - alpha) * grad`` (arXiv 2306.00986);
    with ``into="latents"`` the latent moves, ``sample -= scale * grad``, and the model predicts
    again there (arXiv 2302.03027).

    The gradient moves the latents of `branches` alone: a source that an energy compares with stays.
    It goes through the UNet by the rows of `halves`: fewer cost less (an energy of the cond row's
    maps: ``("cond",)``), and ``()`` leaves only the direct path from the latent to x0, for which no
    gradient of the UNet is needed. `plugin`, who gave it, is filled in by the framework.

    No number of the noise, or of the latent, changes by more than `limit`: a steep gradient sits on
    few numbers, and tears them. None leaves the gradient as it is.
    """

    energy: Callable[[Observation], Tensor]
    scale: float = 1.0
    into: Into = "noise"
    branches: tuple[str, ...] = (MAIN,)
    halves: tuple[Half, ...] = ("uncond", "cond")
    limit: float | None = None
    plugin: str = ""

    def factor(self, alpha: float) -> float:
        """Return what its gradient is multiplied by where it goes, at a level's alphas_cumprod."""
        return (1 - alpha) ** 0.5 if self.into == "noise" else 1.0
