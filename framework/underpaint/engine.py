"""What an engine is: one batch of UNet rows in, noise and readings out; and the two codecs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from underpaint.errors import InvalidRequestError, NotOfferedError
from underpaint.records import Heads, Needs, Wrt
from underpaint.schedule import NoiseSchedule
from underpaint.sites import Sites
from underpaint.tokens import Tokens

if TYPE_CHECKING:
    from underpaint.run import Scorer


@dataclass(frozen=True)
class ModelInfo:
    """What a loaded model declares about itself.

    Attributes
    ----------
    name, digest : the model as the user named it; a digest of its configuration and weights.
    sites : where the UNet can be read and written.
    noise : the checkpoint's noise schedule and prediction type.
    latent_channels, latent_size : C and the default (h, w) of a latent.
    vae_factor : pixels per latent cell, per side.
    context_length, context_width : L and d of the text embedding.
    guidance_scale, num_inference_steps : the model's recommended defaults.
    """

    name: str
    digest: str
    sites: Sites
    noise: NoiseSchedule
    latent_channels: int
    latent_size: tuple[int, int]
    vae_factor: int
    context_length: int
    context_width: int
    guidance_scale: float = 7.5
    num_inference_steps: int = 50


@dataclass(frozen=True, eq=False)
class EditInputs:
    """Attention edits as tensors: constant in shape, the identity by default.

    Attributes
    ----------
    source_row : int64 ``[R]``, the row each row takes from; identity ``arange(R)``.
    cross_map : ``[R, L, L]`` (P); identity zeros.
    cross_scale : ``[R, L]`` (d); identity ones.
    self_q, self_k, self_v : bool ``[S, R]``, one line per self site in call order; identity False.
    cross_bias : site name -> ``[R, N, L]`` added to the logits; identity empty.
    """

    source_row: Tensor
    cross_map: Tensor
    cross_scale: Tensor
    self_q: Tensor
    self_k: Tensor
    self_v: Tensor
    cross_bias: Mapping[str, Tensor] = field(default_factory=dict)

    @classmethod
    def identity(
        cls, rows: int, length: int, self_sites: int, device: torch.device | None = None
    ) -> EditInputs:
        """Return the edit that changes nothing."""

        def gate() -> Tensor:
            return torch.zeros(self_sites, rows, dtype=torch.bool, device=device)

        return cls(
            source_row=torch.arange(rows, device=device),
            cross_map=torch.zeros(rows, length, length, device=device),
            cross_scale=torch.ones(rows, length, device=device),
            self_q=gate(),
            self_k=gate(),
            self_v=gate(),
        )


@dataclass(frozen=True, eq=False)
class UNetCall:
    """One batch for the UNet.

    Attributes
    ----------
    sample : ``[R, C, h, w]``.
    timestep : ``[R]``, one each, so rows of different steps and requests can share a batch.
    context : ``[R, L, d]``.
    edits : None runs the plain graph.
    hidden_delta : ``[R, C', h', w']`` added to the mid block's output, or None.
    maps : name of an attention site -> "mean" or "all" heads, to be read.
    features : names of activation sites to be read.
    extra : further model inputs by their diffusers name (SDXL, ControlNet, LCM).
    """

    sample: Tensor
    timestep: Tensor
    context: Tensor
    edits: EditInputs | None = None
    hidden_delta: Tensor | None = None
    maps: Mapping[str, Heads] = field(default_factory=dict)
    features: frozenset[str] = frozenset()
    extra: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class UNetOutput:
    """What the UNet says about a batch.

    `noise` is the raw model output ``[R, C, h, w]`` (epsilon or v), valid until the engine's next
    call; `maps` ``[R, H or 1, N, L]`` and `features` ``[R, C', h', w']`` are fp32 and the
    caller's. `maps` are each row's own probabilities, before any edit (but after `cross_bias`).
    """

    noise: Tensor
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    features: Mapping[str, Tensor] = field(default_factory=dict)


Pullback = Callable[[UNetOutput], Tensor]
"""Maps cotangents (shaped like the output; absent entries are zero) to the gradient by row."""


class Engine(Protocol):
    """A loaded model. Immutable and thread-safe: a call's state lives in its arguments."""

    @property
    def name(self) -> str:
        """The engine's registered name, e.g. ``pytorch``."""

    @property
    def info(self) -> ModelInfo:
        """What the model declares about itself."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision the UNet computes in."""

    @property
    def device(self) -> torch.device:
        """Where latents, embeddings and readings live."""

    @property
    def max_rows(self) -> int:
        """The largest batch `predict` takes."""

    def check(self, needs: Needs, size: tuple[int, int]) -> None:
        """Get ready to serve `needs` for latents of `size` (h, w).

        Raises
        ------
        NotOfferedError, UnknownSiteError
            If the engine cannot.
        """

    def fallback(self) -> Engine | None:
        """Return an engine of the same model that runs what this one does not offer, if any."""
        return None

    def scorer(self) -> Scorer | None:
        """Return the model's CLIP and ViT features, if it has any."""
        return None

    def load_scorer(self, folder: Path) -> Scorer:
        """Load CLIP or ViT features from a folder that transformers' ``save_pretrained`` wrote.

        Raises
        ------
        ModelLoadError
            If it holds no such model, or a file is missing, corrupt or pickled.
        """

    def predict(self, call: UNetCall) -> UNetOutput:
        """Run the UNet once."""

    def linearize(self, call: UNetCall, wrt: Wrt) -> tuple[UNetOutput, Pullback]:
        """Run the UNet and return its output with a pullback onto one of its inputs."""

    def tokenize(self, prompts: Sequence[str]) -> list[Tokens]:
        """Split prompts into tokens with character spans."""

    def encode_text(self, tokens: Sequence[Tokens]) -> Tensor:
        """Return text embeddings ``[B, L, d]`` fp32."""

    def encode_image(self, images: Tensor) -> Tensor:
        """Encode images ``[B, 3, H, W]`` in [0, 1] to scaled latents (the posterior's mean)."""

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Decode scaled latents to images ``[B, 3, H, W]``, unclamped around [0, 1].

        Differentiable where `latents` requires a gradient and the engine offers it.
        """

    def decoder(self) -> nn.Module:
        """Return a copy of the decoder whose weights may be optimised; the engine's stay.

        It maps scaled latents to images as `decode_latents` does; the parameters that require a
        gradient are the decoder's. An engine without weights takes its fallback's.

        Raises
        ------
        NotOfferedError
            If there is no fallback either.
        """
        other = self.fallback()
        if other is None:
            raise NotOfferedError(
                f"The {self.name} engine has no decoder whose weights can be optimised, and the "
                "model's checkpoint is not at hand; engine='pytorch' has one."
            )
        return other.decoder()


def concat(calls: Sequence[UNetCall]) -> UNetCall:
    """Join calls into one batch, re-basing `source_row`.

    Predicting the concatenation equals predicting the parts, up to the rounding of another
    batch size. Calls without edits, bias or hidden delta take the identity when another has one.

    Raises
    ------
    InvalidRequestError
        If the calls read different maps or features, or have different extra inputs.
    """
    first = calls[0]
    for field_name in ("maps", "features"):
        if any(getattr(c, field_name) != getattr(first, field_name) for c in calls):
            raise InvalidRequestError(
                f"Calls with different {field_name} cannot share a batch: read the union in each."
            )
    if any(c.extra.keys() != first.extra.keys() for c in calls):
        raise InvalidRequestError("Calls with different extra inputs cannot share a batch.")
    return UNetCall(
        sample=torch.cat([c.sample for c in calls]),
        timestep=torch.cat([c.timestep for c in calls]),
        context=torch.cat([c.context for c in calls]),
        edits=_concat_edits(calls),
        hidden_delta=_concat_hidden(calls),
        maps=first.maps,
        features=first.features,
        extra={name: torch.cat([c.extra[name] for c in calls]) for name in first.extra},
    )


def _concat_edits(calls: Sequence[UNetCall]) -> EditInputs | None:
    given = next((c.edits for c in calls if c.edits is not None), None)
    if given is None:
        return None
    sizes = [len(c.sample) for c in calls]
    length, sites, device = given.cross_scale.shape[1], len(given.self_q), given.cross_map.device
    parts = [
        c.edits or EditInputs.identity(rows, length, sites, device)
        for c, rows in zip(calls, sizes, strict=True)
    ]
    starts = accumulate(sizes[:-1], initial=0)
    return EditInputs(
        source_row=torch.cat([p.source_row + s for p, s in zip(parts, starts, strict=True)]),
        cross_map=torch.cat([p.cross_map for p in parts]),
        cross_scale=torch.cat([p.cross_scale for p in parts]),
        self_q=torch.cat([p.self_q for p in parts], 1),
        self_k=torch.cat([p.self_k for p in parts], 1),
        self_v=torch.cat([p.self_v for p in parts], 1),
        cross_bias=_concat_or_zeros([p.cross_bias for p in parts], sizes),
    )


def _concat_or_zeros(
    parts: Sequence[Mapping[str, Tensor]], sizes: Sequence[int]
) -> dict[str, Tensor]:
    """Join by name; a part without a name has zeros there."""
    shapes = {name: value for part in parts for name, value in part.items()}
    return {
        name: torch.cat(
            [
                part.get(name, like.new_zeros(rows, *like.shape[1:]))
                for part, rows in zip(parts, sizes, strict=True)
            ]
        )
        for name, like in shapes.items()
    }


def _concat_hidden(calls: Sequence[UNetCall]) -> Tensor | None:
    parts = [{} if c.hidden_delta is None else {"delta": c.hidden_delta} for c in calls]
    return _concat_or_zeros(parts, [len(c.sample) for c in calls]).get("delta")
