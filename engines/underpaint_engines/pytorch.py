"""The PyTorch engine: diffusers' own modules. The reference, and the source of gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from underpaint.engine import EditInputs, Engine, ModelInfo, Pullback, UNetCall, UNetOutput
from underpaint.records import Needs, Wrt
from underpaint.run import Scorer
from underpaint.tokens import Tokens

from underpaint_engines import activations, attention, vision
from underpaint_engines.activations import ActivationControl
from underpaint_engines.attention import AttentionControl
from underpaint_engines.calls import (
    check_call,
    check_images,
    check_latents,
    hidden_shape,
    refuse_large,
)
from underpaint_engines.checkpoint import open_checkpoint
from underpaint_engines.decoder import DecoderCopy
from underpaint_engines.module_loading import special_tokens
from underpaint_engines.modules import Modules, describe, load_modules
from underpaint_engines.scorer import ClipScorer, LazyScorer
from underpaint_engines.tokenizer import PromptTokenizer

MAX_ROWS = 16


def load(
    source: str | Path,
    *,
    name: str,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    max_rows: int = MAX_ROWS,
) -> PyTorchEngine:
    """Load a Stable Diffusion 1.x or 2.x checkpoint.

    Parameters
    ----------
    source : a diffusers folder with safetensors weights, or a name on the Hugging Face hub.
    name : the model's name, for messages and recipes.
    dtype : the precision the UNet computes in; the codecs always compute in fp32.
    device : where the modules live and the engine's outputs lie.
    max_rows : the largest batch that `PyTorchEngine.predict` takes.

    Raises
    ------
    ModelLoadError
        If the checkpoint is missing, incomplete, corrupt, pickled or of another family.
    """
    checkpoint = open_checkpoint(source)
    # Weights made under a caller's inference mode could never be part of a gradient.
    with torch.inference_mode(False):
        modules = load_modules(checkpoint, dtype, torch.device(device))
    scorer = LazyScorer(checkpoint.folder, torch.device(device))
    return PyTorchEngine(modules, describe(name, checkpoint, modules), max_rows, scorer)


class PyTorchEngine(Engine):
    """A loaded model; see `underpaint.engine.Engine` for the contract. Made by `load`.

    Parameters
    ----------
    modules : the model's parts; the engine puts its attention processors and hooks on the UNet.
    info : what the model declares about itself.
    max_rows : the largest batch that `predict` takes.
    scorer : of the same checkpoint; None where there is none.
    """

    def __init__(
        self,
        modules: Modules,
        info: ModelInfo,
        max_rows: int = MAX_ROWS,
        scorer: LazyScorer | None = None,
    ) -> None:
        attention.install(modules.unet)
        activations.install(modules.unet)
        self._unet = modules.unet
        self._vae = modules.vae
        self._text_encoder = modules.text_encoder
        backend, special = modules.tokenizer.backend_tokenizer, special_tokens(modules.tokenizer)
        self._split = PromptTokenizer(backend, special, info.context_length)
        self._info = info
        self._dtype: torch.dtype = modules.unet.dtype
        self._device: torch.device = modules.unet.device
        self._max_rows = max_rows
        self._scorer = scorer

    @property
    def name(self) -> str:
        """The engine's registered name."""
        return "pytorch"

    @property
    def info(self) -> ModelInfo:
        """What the model declares about itself."""
        return self._info

    @property
    def dtype(self) -> torch.dtype:
        """The precision the UNet computes in."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """Where latents, embeddings and readings live."""
        return self._device

    @property
    def max_rows(self) -> int:
        """The largest batch `predict` takes."""
        return self._max_rows

    def check(self, needs: Needs, size: tuple[int, int]) -> None:
        """Raise an error if the engine cannot serve `needs`; it offers all edits and gradients.

        Raises
        ------
        UnknownSiteError
            If a tap matches no site.
        NotOfferedError
            If a tap asks for self maps above 32x32.
        """
        for tap in needs.taps:
            refuse_large(self._info.sites.select(tap.selector), size)

    def scorer(self) -> ClipScorer | None:
        """Return the checkpoint's CLIP, loaded when it is first asked for, or None."""
        return self._scorer() if self._scorer else None

    def load_scorer(self, folder: Path) -> Scorer:
        """Load CLIP or ViT features from another folder; see `vision.load_scorer`."""
        return vision.load_scorer(folder, self.device)

    def predict(self, call: UNetCall) -> UNetOutput:
        """Run the UNet once.

        Raises
        ------
        InvalidRequestError, UnknownSiteError, NotOfferedError
            If the call does not fit the model; the message names the field.
        """
        check_call(call, self._info, self._max_rows)
        # Not inference mode: the caller may use the outputs in a graph of its own.
        with torch.no_grad():
            return self._run(call)

    def linearize(self, call: UNetCall, wrt: Wrt) -> tuple[UNetOutput, Pullback]:
        """Run the UNet and return its output with a pullback onto one of its inputs.

        The pullback may be called several times, from any thread; it holds the graph's memory
        until it is dropped. An absent `hidden_delta` is differentiated at zero.

        Raises
        ------
        InvalidRequestError, UnknownSiteError, NotOfferedError
            If the call does not fit the model; the message names the field.
        """
        check_call(call, self._info, self._max_rows)
        with torch.inference_mode(False), torch.enable_grad():
            point = getattr(call, wrt)
            if point is None:
                point = torch.zeros(hidden_shape(call.sample, self._info))
            leaf = _ordinary(point, self.device, torch.float32).detach().requires_grad_()
            point_at: dict[str, Any] = {wrt: leaf}
            output = self._run(replace(call, **point_at))

        def pullback(cotangents: UNetOutput) -> Tensor:
            with torch.inference_mode(False):
                return _pull(output, cotangents, leaf)

        detached = UNetOutput(output.noise.detach(), _detach(output.maps), _detach(output.features))
        return detached, pullback

    def tokenize(self, prompts: Sequence[str]) -> list[Tokens]:
        """Split prompts into tokens with character spans."""
        return [self._split(prompt) for prompt in prompts]

    @torch.no_grad()
    def encode_text(self, tokens: Sequence[Tokens]) -> Tensor:
        """Return text embeddings ``[B, L, d]`` fp32: CLIP's last hidden state."""
        ids = torch.tensor([each.ids for each in tokens], device=self.device)
        embeddings: Tensor = self._text_encoder(ids).last_hidden_state
        return embeddings

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> Tensor:
        """Encode images ``[B, 3, H, W]`` in [0, 1] to scaled latents (the posterior's mean).

        Raises
        ------
        InvalidRequestError
            If a side is no multiple of the VAE's factor.
        """
        check_images(images, self._info)
        encoded = self._vae.encode(images.to(self.device, torch.float32) * 2 - 1)
        posterior = getattr(encoded, "latent_dist", None)  # AutoencoderTiny has no posterior
        latents = encoded.latents if posterior is None else posterior.mode()
        scaled: Tensor = latents * self._vae.config.scaling_factor
        return scaled

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Decode scaled latents to images ``[B, 3, H, W]``, unclamped around [0, 1].

        Differentiable where `latents` requires a gradient.

        Raises
        ------
        InvalidRequestError
            If the latents have another number of channels than the model's.
        """
        check_latents(latents, self._info)
        scaled = latents.to(self.device, torch.float32) / self._vae.config.scaling_factor
        images: Tensor = self._vae.decode(scaled).sample
        return images / 2 + 0.5

    def decoder(self) -> DecoderCopy:
        """Return a copy of the decoder whose weights may be optimised; the engine's stay."""
        with torch.inference_mode(False):
            return DecoderCopy(self._vae)

    def _run(self, call: UNetCall) -> UNetOutput:
        device, dtype = self._device, self._dtype
        edits = None if call.edits is None else _prepare(call.edits, device, dtype)
        attention_control = AttentionControl(edits, call.maps)
        delta = call.hidden_delta
        activation_control = ActivationControl(
            call.features, None if delta is None else _ordinary(delta, device, dtype)
        )
        with activations.controlled(activation_control):
            noise: Tensor = self._unet(
                _ordinary(call.sample, device, dtype),
                call.timestep.to(device),
                _ordinary(call.context, device, dtype),
                cross_attention_kwargs={"control": attention_control},
                return_dict=False,
                **{key: value.to(device) for key, value in call.extra.items()},
            )[0]
        return UNetOutput(noise.float(), attention_control.maps, activation_control.features)


def _prepare(edits: EditInputs, device: torch.device, dtype: torch.dtype) -> EditInputs:
    return EditInputs(
        source_row=_ordinary(edits.source_row, device, torch.int64),
        cross_map=_ordinary(edits.cross_map, device, dtype),
        cross_scale=_ordinary(edits.cross_scale, device, dtype),
        self_q=_ordinary(edits.self_q, device, torch.bool),
        self_k=_ordinary(edits.self_k, device, torch.bool),
        self_v=_ordinary(edits.self_v, device, torch.bool),
        cross_bias={k: _ordinary(bias, device, dtype) for k, bias in edits.cross_bias.items()},
    )


def _ordinary(value: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Move a tensor, and copy it if autograd would refuse it as made under inference mode."""
    moved = value.to(device, dtype)
    refused = moved.is_inference() and not torch.is_inference_mode_enabled()
    return moved.clone() if refused else moved


def _detach(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy readings, which are the caller's to change, out of a graph that still needs them."""
    return {name: value.detach().clone() for name, value in values.items()}


def _pull(output: UNetOutput, cotangents: UNetOutput, leaf: Tensor) -> Tensor:
    pairs = [(output.noise, cotangents.noise)]
    pairs += [(output.maps[name], value) for name, value in cotangents.maps.items()]
    pairs += [(output.features[name], value) for name, value in cotangents.features.items()]
    # What runs before the mid block does not depend on its delta: no part of the gradient.
    pairs = [(value, given) for value, given in pairs if value.requires_grad]
    values, given = zip(*pairs, strict=True)
    cotangent = [_ordinary(each, leaf.device, torch.float32) for each in given]
    (gradient,) = torch.autograd.grad(values, leaf, cotangent, retain_graph=True)
    return gradient
