"""What the UNet said about the rows of one evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from underpaint.layout import Layout
from underpaint.maps import AttentionMaps
from underpaint.records import Half


@dataclass(frozen=True, eq=False)
class Outputs:
    """One evaluation of the UNet, in epsilon terms.

    Attributes
    ----------
    layout : the rows that were evaluated.
    sample : ``[T, C, h, w]``, the latents they were evaluated at.
    noise : epsilon ``[R, C, h, w]`` fp32.
    maps : each row's own attention maps, or None without taps.
    features : activation name -> ``[R, C', h', w']``.
    """

    layout: Layout
    sample: Tensor
    noise: Tensor
    maps: AttentionMaps | None = None
    features: Mapping[str, Tensor] = field(default_factory=dict)

    def of(self, branch: str, half: Half) -> Tensor:
        """Return epsilon of a branch and half, ``[I, C, h, w]``."""
        return self.layout.select(self.noise, branch, half)


@dataclass(frozen=True, eq=False)
class Cotangents:
    """Gradients of a scalar with respect to the `Outputs` of a linearisation; absent is zero.

    `maps` is keyed by site name, `features` by activation name.
    """

    noise: Tensor | None = None
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    features: Mapping[str, Tensor] = field(default_factory=dict)


RowPullback = Callable[[Cotangents], Tensor]
"""Maps cotangents to the gradient with respect to the chosen input, by row."""
