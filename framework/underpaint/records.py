"""The frozen records that cross boundaries between core, plugins and engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from underpaint.errors import InvalidRequestError
from underpaint.errors import check_finite as check_finite  # noqa: PLC0414 - it is part of this module
from underpaint.sites import SiteSelector

if TYPE_CHECKING:
    from underpaint.layout import Layout
    from underpaint.maps import AttentionMaps
    from underpaint.outputs import Outputs
    from underpaint.trajectory import Trajectory

MAIN = "main"
"""Name of the branch that every request has: the image that was asked for."""

Half = Literal["uncond", "cond"]
Into = Literal["noise", "latents"]
Heads = Literal["mean", "all"]
Wrt = Literal["sample", "context", "hidden_delta"]
MoveKind = Literal["denoise", "invert", "renoise"]


@dataclass(frozen=True)
class Window:
    """A part of the noise range, as fractions: 0 is pure noise, 1 the clean image."""

    start: float = 0.0
    end: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.start <= self.end <= 1.0:
            raise InvalidRequestError(
                f"Window({self.start}, {self.end}): give fractions of the noise range with "
                "0 <= start <= end <= 1, e.g. Window(0.0, 0.8) for the first four fifths."
            )

    def contains(self, progress: float) -> bool:
        """Tell whether a step at `progress` (see `Step.progress`) lies inside: start <= p < end."""
        slack = 1e-9  # progress is a ratio of integers: 0.4 must not fall on the wrong side
        return self.start - slack <= progress < self.end - slack


@dataclass(frozen=True)
class Move:
    """One step of the schedule: from noise level `t` to `next_t` (-1: the clean image)."""

    t: int
    next_t: int
    eta: float = 0.0
    kind: MoveKind = "denoise"

    @property
    def timestep(self) -> int:
        """The timestep the UNet is told: the noisier end (diffusers' inversion convention)."""
        return max(self.t, self.next_t)


@dataclass(frozen=True)
class Branch:
    """A latent trajectory that runs in lockstep with the request's own.

    Attributes
    ----------
    name : unique in a run; ``main`` is the request's own.
    prompt : shared by all images of the run; None takes each image's own.
    negative_prompt : likewise.
    guidance_scale : None takes the request's; 1 or less drops the branch's uncond row.
    trajectory : pivots to start from and, with `follow`, to be held to (Direct Inversion,
        arXiv 2310.01506); a following branch needs no uncond row.
    real : it shows the call's picture, where there is one: the picture is inverted with the
        branch's prompt, and the branch starts there and, as the call says, follows the path.
    """

    name: str
    prompt: str | None
    negative_prompt: str | None = None
    guidance_scale: float | None = None
    trajectory: Trajectory | None = None
    follow: bool = False
    real: bool = False

    def __post_init__(self) -> None:
        if self.follow and self.trajectory is None:
            raise InvalidRequestError(f"Branch {self.name!r} follows no trajectory: pass one.")

    def part(self, start: int, stop: int) -> Branch:
        """Return the branch for the images ``start ... stop-1`` of a call."""
        if self.trajectory is None:
            return self
        return replace(self, trajectory=self.trajectory.part(start, stop))


@dataclass(frozen=True)
class Tap:
    """A reading: attention maps or activations of the chosen sites, during a window.

    `heads` "mean" gives one map per site, "all" gives one per head; activations ignore it.
    """

    selector: SiteSelector
    heads: Heads = "mean"
    during: Window = field(default_factory=Window)


@dataclass(frozen=True)
class Needs:
    """What one plugin needs of the engine; the union picks the engine's graph variant.

    Attributes
    ----------
    taps : readings, each during its window.
    edits : whether it edits attention.
    cross_bias : whether its edits add to the logits of cross attention.
    hidden_delta : whether it adds to the mid block's output (``step.evaluate(hidden_delta=...)``).
    gradient : the inputs that it differentiates with respect to.
    image : whether it looks at the call's picture (``run.request.image``).
    inversion : whether it starts from the noise that the call's picture inverts to. A branch that
        is ``real`` says so too.
    """

    taps: tuple[Tap, ...] = ()
    edits: bool = False
    cross_bias: bool = False
    hidden_delta: bool = False
    gradient: frozenset[Wrt] = frozenset()
    image: bool = False
    inversion: bool = False

    def __or__(self, other: Needs) -> Needs:
        return Needs(
            taps=self.taps + other.taps,
            edits=self.edits or other.edits,
            cross_bias=self.cross_bias or other.cross_bias,
            hidden_delta=self.hidden_delta or other.hidden_delta,
            gradient=self.gradient | other.gradient,
            image=self.image or other.image,
            inversion=self.inversion or other.inversion,
        )


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Text embeddings per branch and half; tensors are never changed in place.

    `embeddings[(branch, half)]` is ``[I, L, d]``, or ``[S, I, L, d]`` with one slice per step
    (null-text inversion, arXiv 2211.09794).
    """

    embeddings: Mapping[tuple[str, Half], Tensor]
    _joined: dict[Layout, Tensor] = field(default_factory=dict, init=False, repr=False)
    """What `rows` has put together; without a step axis it serves every step."""

    def rows(self, layout: Layout, step: int) -> Tensor:
        """Return the embedding of each row of a batch at a step, ``[R, L, d]``."""
        if layout in self._joined:
            return self._joined[layout]
        pairs = dict.fromkeys((row.branch, row.half) for row in layout.rows)
        by_pair = {pair: self.at(*pair, step) for pair in pairs}
        joined = torch.stack([by_pair[row.branch, row.half][row.image] for row in layout.rows])
        if all(self.embeddings[pair].dim() == 3 for pair in pairs):
            self._joined[layout] = joined
        return joined

    def at(self, branch: str, half: Half, step: int) -> Tensor:
        """Return the embedding ``[I, L, d]`` of a branch and half at a step."""
        value = self.embeddings[branch, half]
        return value[step] if value.dim() == 4 else value

    def replace(self, branch: str, half: Half, value: Tensor) -> Conditioning:
        """Return a copy with one embedding exchanged."""
        return Conditioning({**self.embeddings, (branch, half): value})


@dataclass(frozen=True, eq=False)
class AttentionEdit:
    """What one branch's attention takes from another's, at one step.

    ``A' = A_source P + A diag(d)`` on cross maps, with ``P = cross_map`` and ``d = cross_scale``;
    on the self sites named in `self_q`, `self_k`, `self_v` the query, key or value of the source
    row takes the place of the row's own (Prompt-to-Prompt: q and k; MasaCtrl: k and v).

    Attributes
    ----------
    target, source : branch names; both are evaluated in the same batch.
    half : the classifier-free-guidance half that is written.
    cross_map : ``[L, L]`` or per image ``[I, L, L]``; rows are source tokens. None: zeros.
    cross_scale : ``[L]`` or per image ``[I, L]``. None: ones.
    self_q, self_k, self_v : names of self-attention sites.
    cross_bias : site name -> ``[N, L]`` or ``[I, N, L]``, added to the logits.
    """

    target: str
    source: str
    half: Half = "cond"
    cross_map: Tensor | None = None
    cross_scale: Tensor | None = None
    self_q: frozenset[str] = frozenset()
    self_k: frozenset[str] = frozenset()
    self_v: frozenset[str] = frozenset()
    cross_bias: Mapping[str, Tensor] = field(default_factory=dict)

    def apply(self, maps: AttentionMaps) -> AttentionMaps:
        """Return `maps` with the target's cross maps edited: ``A' = A_source P + A diag(d)``.

        The engine's taps give each row's own map; LocalBlend and heat maps want the edited one.
        The formula is linear in the maps, so it holds for head means too. `cross_bias` is part of
        the tapped maps already.
        """
        return maps.edited(self)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the model says about one step, always in epsilon and x0 terms.

    Attributes
    ----------
    sample : ``[T, C, h, w]``, one per trajectory (image x branch): the latent the prediction was
        made at (a method may have moved it).
    alpha : alphas_cumprod at the step's level.
    noise, x0 : ``[T, C, h, w]``, what `advance` uses, as they stand.
    outputs : the evaluation they came from: every row's epsilon before classifier-free guidance,
        and the readings.
    """

    sample: Tensor
    alpha: float
    noise: Tensor
    x0: Tensor
    outputs: Outputs

    @property
    def maps(self) -> AttentionMaps | None:
        """The attention maps of this step, of all rows; None without taps."""
        return self.outputs.maps

    @property
    def features(self) -> Mapping[str, Tensor]:
        """The activations of this step, of all rows."""
        return self.outputs.features

    def with_noise(self, noise: Tensor) -> Prediction:
        """Return a copy with another epsilon and the x0 that belongs to it."""
        x0 = (self.sample - (1 - self.alpha) ** 0.5 * noise) / self.alpha**0.5
        return replace(self, noise=noise, x0=x0)

    def with_x0(self, x0: Tensor) -> Prediction:
        """Return a copy with another x0 and the epsilon that belongs to it."""
        noise = (self.sample - self.alpha**0.5 * x0) / (1 - self.alpha) ** 0.5
        return replace(self, noise=noise, x0=x0)
