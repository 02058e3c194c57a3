"""An engine without weights, for tests: a real UNet's interface at a thousandth of its size."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from underpaint.engine import ModelInfo, Pullback, UNetCall, UNetOutput
from underpaint.errors import NotOfferedError
from underpaint.records import Needs, Wrt
from underpaint.run import Scorer
from underpaint.schedule import NoiseSchedule, PredictionType
from underpaint.testing.toy_text import WIDTH, embed, tokenize
from underpaint.testing.toy_unet import CHANNELS, LATENT, ToyUNet, sites
from underpaint.tokens import Tokens

VAE_FACTOR = 4


class ToyEngine:
    """Serves everything the engine protocol names, in about a millisecond a call.

    Deterministic, differentiable and thread-safe: text, latents, attention edits, taps and
    activations all have real effects, but the pictures mean nothing.

    Parameters
    ----------
    prediction_type : what the output means: epsilon, v_prediction or sample.
    context_length : tokens of a prompt, BOS and EOS included.
    max_rows : the largest batch.
    noise : another schedule; its prediction type counts.
    """

    name = "toy"
    dtype = torch.float32
    device = torch.device("cpu")

    def __init__(
        self,
        prediction_type: PredictionType = "epsilon",
        context_length: int = 77,
        max_rows: int = 64,
        noise: NoiseSchedule | None = None,
    ) -> None:
        self.max_rows = max_rows
        schedule = noise or toy_schedule(prediction_type)
        self.unet = ToyUNet(schedule)
        generator = torch.Generator().manual_seed(1)
        self.colours = torch.randn(3, LATENT, generator=generator)
        self.info = ModelInfo(
            name="toy",
            digest=_digest(schedule, context_length),
            sites=sites(),
            noise=schedule,
            latent_channels=LATENT,
            latent_size=(8, 8),
            vae_factor=VAE_FACTOR,
            context_length=context_length,
            context_width=WIDTH,
            guidance_scale=4.0,
            num_inference_steps=4,
        )

    def check(self, needs: Needs, size: tuple[int, int]) -> None:
        """Raise UnknownSiteError for a tap that no site matches; everything else is offered."""
        del size
        for tap in needs.taps:
            self.info.sites.select(tap.selector)

    def fallback(self) -> None:
        """Offer no other engine: this one offers everything."""

    def scorer(self) -> None:
        """Offer no CLIP."""

    def load_scorer(self, folder: Path) -> Scorer:
        """Refuse: it loads no files."""
        raise NotOfferedError(f"The toy engine loads no scorer from {folder}.")

    def predict(self, call: UNetCall) -> UNetOutput:
        """Run the UNet once."""
        self._check_call(call)
        with torch.no_grad():
            return self.unet(call)

    def linearize(self, call: UNetCall, wrt: Wrt) -> tuple[UNetOutput, Pullback]:
        """Run the UNet and keep torch's graph for the pullback."""
        self._check_call(call)
        call = replace(call, hidden_delta=self._hidden_delta(call))
        leaf = getattr(call, wrt).detach().requires_grad_()
        with torch.enable_grad():
            output = self.unet(replace(call, **{wrt: leaf}))

        def pullback(cotangents: UNetOutput) -> Tensor:
            pairs = [
                (output.noise, cotangents.noise),
                *((output.maps[name], value) for name, value in cotangents.maps.items()),
                *((output.features[name], value) for name, value in cotangents.features.items()),
            ]
            reached = [(value, weight) for value, weight in pairs if value.requires_grad]
            values, weights = zip(*reached, strict=True)
            gradient: Tensor = torch.autograd.grad(values, leaf, weights, retain_graph=True)[0]
            return gradient

        return _detach(output), pullback

    def tokenize(self, prompts: Sequence[str]) -> list[Tokens]:
        """Split prompts into words; a word of more than six letters is two tokens."""
        return [tokenize(prompt, self.info.context_length) for prompt in prompts]

    def encode_text(self, tokens: Sequence[Tokens]) -> Tensor:
        """Return text embeddings ``[B, L, d]``."""
        return embed(tokens)

    def encode_image(self, images: Tensor) -> Tensor:
        """Average each cell of pixels and spread its colour over the latent's channels."""
        cells = F.avg_pool2d(images * 2 - 1, VAE_FACTOR)
        return torch.einsum("bchw,lc->blhw", cells, torch.linalg.pinv(self.colours))

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Mix the latent's channels into colours and enlarge; undoes `encode_image`."""
        return _decode(latents, self.colours)

    def decoder(self) -> ToyDecoder:
        """Return a copy of the decoder: the colours are its weights."""
        return ToyDecoder(self.colours)

    def _check_call(self, call: UNetCall) -> None:
        if len(call.sample) > self.max_rows:
            raise ValueError(f"{len(call.sample)} rows, the engine takes {self.max_rows}.")

    def _hidden_delta(self, call: UNetCall) -> Tensor:
        if call.hidden_delta is not None:
            return call.hidden_delta
        rows, _, height, width = call.sample.shape
        return call.sample.new_zeros(rows, CHANNELS, height // 2, width // 2)


class ToyDecoder(nn.Module):
    """The decoder with weights of its own: the colour of each latent channel, ``[3, C]``."""

    def __init__(self, colours: Tensor) -> None:
        super().__init__()
        self.colours = nn.Parameter(colours.clone())

    def forward(self, latents: Tensor) -> Tensor:
        """Return images ``[B, 3, H, W]`` around [0, 1]."""
        return _decode(latents, self.colours)


def _decode(latents: Tensor, colours: Tensor) -> Tensor:
    cells = torch.einsum("blhw,cl->bchw", latents, colours)
    return F.interpolate(cells, scale_factor=float(VAE_FACTOR)) / 2 + 0.5


def toy_schedule(prediction_type: PredictionType = "epsilon") -> NoiseSchedule:
    """Return Stable Diffusion's noise schedule."""
    return NoiseSchedule.from_config(
        {
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "set_alpha_to_one": False,
            "steps_offset": 1,
            "prediction_type": prediction_type,
        }
    )


def _digest(noise: NoiseSchedule, context_length: int) -> str:
    return hashlib.sha256(repr((noise, context_length)).encode()).hexdigest()


def _detach(output: UNetOutput) -> UNetOutput:
    return UNetOutput(
        output.noise.detach(),
        {name: value.detach() for name, value in output.maps.items()},
        {name: value.detach() for name, value in output.features.items()},
    )
