"""The engine of a bundle: graphs that a runtime compiles, chosen by what a call needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from tokenizers import Tokenizer
from torch import Tensor
from underpaint.engine import Engine, ModelInfo, Pullback, UNetCall, UNetOutput
from underpaint.errors import ModelLoadError, NotOfferedError
from underpaint.precision import dtype_name
from underpaint.records import Needs, Wrt
from underpaint.run import Scorer
from underpaint.tokens import Tokens

from underpaint_engines import vision
from underpaint_engines.bundle import TOKENIZER, Manifest, graph_name
from underpaint_engines.calls import check_call, check_images, check_latents, refuse_large
from underpaint_engines.derivative import derivative
from underpaint_engines.fallback import Fallback
from underpaint_engines.inputs import graph_inputs
from underpaint_engines.pruning import pruned
from underpaint_engines.pullback import pull_back
from underpaint_engines.readings import NOISE, call_outputs, output_name, unet_output
from underpaint_engines.runtime import Runtime
from underpaint_engines.scorer import ClipScorer
from underpaint_engines.sessions import Sessions
from underpaint_engines.tokenizer import PromptTokenizer

Size = tuple[int, int]
Variant = Literal["plain", "edit", "bias"]


class CompiledEngine(Engine):
    """A bundle on a runtime; see `underpaint.engine.Engine` for the contract.

    Parameters
    ----------
    folder, manifest : of the bundle.
    name : the model's name, for messages and recipes.
    runtime : what compiles its graphs.
    fallback : the same model's checkpoint, for what the graphs do not offer; None where it is not
        at hand.

    Raises
    ------
    ModelLoadError
        If the bundle's precision is not the runtime's.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        name: str,
        runtime: Runtime,
        fallback: Fallback | None = None,
    ) -> None:
        asked = dtype_name(runtime.dtype)
        if manifest.dtype != asked:
            raise ModelLoadError(
                f"{folder} holds {manifest.dtype} graphs, but {asked} was asked for. Load it with "
                f"{manifest.dtype}, or export it again: underpaint export MODEL --dtype {asked}"
            )
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        length = manifest.info.context_length
        self._split = PromptTokenizer(tokenizer, manifest.special_tokens, length)
        self._info = replace(manifest.info, name=name)
        self._manifest = manifest
        self._runtime = runtime
        self._fallback = fallback
        self._sessions = Sessions(folder, manifest, runtime)

    @property
    def name(self) -> str:
        """The engine's registered name."""
        return self._runtime.name

    @property
    def info(self) -> ModelInfo:
        """What the model declares about itself."""
        return self._info

    @property
    def dtype(self) -> torch.dtype:
        """The precision the UNet computes in."""
        return self._runtime.dtype

    @property
    def device(self) -> torch.device:
        """Where latents, embeddings and readings live."""
        return self._runtime.device

    @property
    def max_rows(self) -> int:
        """The largest batch `predict` takes."""
        return self._manifest.max_rows

    def check(self, needs: Needs, size: Size) -> None:
        """Compile what serves `needs` for latents of `size`.

        A gradient is made here, and compiled by the first pullback, which knows its cotangents.

        Raises
        ------
        UnknownSiteError
            If a tap matches no site.
        NotOfferedError
            If a tap asks for self maps above 32x32, the bundle has no graphs of that size, or a
            gradient is asked for and the graph has an operator without one.
        """
        outputs = {NOISE}
        for tap in needs.taps:
            sites = self._info.sites.select(tap.selector)
            refuse_large(sites, size)
            outputs |= {
                output_name(s.name, "feature" if s.kind == "activation" else tap.heads)
                for s in sites
            }
        variants = _variants(needs.edits or needs.hidden_delta, needs.cross_bias)
        self._sessions.get(_unet(variants[0], size), frozenset(outputs))
        for wrt in needs.gradient:
            self._check_gradient(wrt, frozenset(outputs), size)

    def fallback(self) -> Engine | None:
        """Return the PyTorch engine of the same checkpoint, where that is at hand."""
        return self._fallback() if self._fallback else None

    def scorer(self) -> ClipScorer | None:
        """Return the CLIP of the same checkpoint, where that is at hand and has one."""
        return self._fallback.scorer() if self._fallback else None

    def load_scorer(self, folder: Path) -> Scorer:
        """Load CLIP or ViT features from another folder; see `vision.load_scorer`."""
        return vision.load_scorer(folder, self.device)

    def predict(self, call: UNetCall) -> UNetOutput:
        """Run the UNet once.

        Raises
        ------
        InvalidRequestError, UnknownSiteError, NotOfferedError
            If the call does not fit the model or the bundle; the message names the field.
        """
        check_call(call, self._info, self.max_rows)
        outputs, size = call_outputs(call), (call.sample.shape[2], call.sample.shape[3])
        variant = self._variant(call, size, outputs)
        session = self._sessions.get(_unet(variant, size), outputs)
        inputs = graph_inputs(call, self._info, self.device, biased=variant == "bias")
        return unet_output(call, session(inputs))

    def linearize(self, call: UNetCall, wrt: Wrt) -> tuple[UNetOutput, Pullback]:
        """Run the UNet and return its output with a pullback onto one of its inputs.

        The pullback may be called several times, from any thread; it holds the activations' memory
        until it is dropped. An absent `hidden_delta` is differentiated at zero.

        Raises
        ------
        InvalidRequestError, UnknownSiteError, NotOfferedError
            If the call does not fit the model or the bundle; the message names the field.
        """
        self._require_gradients()
        check_call(call, self._info, self.max_rows)
        variant = _gradient_variant(call, wrt)
        graph = _unet(variant, (call.sample.shape[2], call.sample.shape[3]))
        outputs = call_outputs(call)
        linear = self._sessions.linear(graph, wrt, outputs)
        values = graph_inputs(call, self._info, self.device, biased=variant == "bias")
        out = linear.session(values)
        for name in (port.name for port in linear.residuals):
            # An output is the caller's to change.
            values[name] = out[name].clone() if name in outputs else out[name]
        return unet_output(call, out), partial(pull_back, self._sessions, linear, call, values)

    def tokenize(self, prompts: Sequence[str]) -> list[Tokens]:
        """Split prompts into tokens with character spans."""
        return [self._split(prompt) for prompt in prompts]

    def encode_text(self, tokens: Sequence[Tokens]) -> Tensor:
        """Return text embeddings ``[B, L, d]`` fp32: CLIP's last hidden state."""
        ids = torch.tensor([each.ids for each in tokens])
        return self._one_by_one("text_encoder", "ids", ids, "embeddings")

    def encode_image(self, images: Tensor) -> Tensor:
        """Encode images ``[B, 3, H, W]`` in [0, 1] to scaled latents (the posterior's mean).

        Raises
        ------
        InvalidRequestError
            If a side is no multiple of the VAE's factor.
        """
        check_images(images, self._info)
        factor = self._info.vae_factor
        size = (images.shape[2] // factor, images.shape[3] // factor)
        return self._one_by_one(graph_name("vae_encoder", size), "images", images, "latents")

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Decode scaled latents to images ``[B, 3, H, W]``, unclamped around [0, 1].

        Raises
        ------
        InvalidRequestError
            If the latents have another number of channels than the model's.
        """
        check_latents(latents, self._info)
        size = (latents.shape[2], latents.shape[3])
        return self._one_by_one(graph_name("vae_decoder", size), "latents", latents, "images")

    def _check_gradient(self, wrt: Wrt, outputs: frozenset[str], size: Size) -> None:
        self._require_gradients()
        graph = self._sessions.record(_unet("bias", size))  # with every operator of the others
        record = derivative(graph, wrt, outputs)
        pruned(self._sessions.folder, record, [port.name for port in record.outputs])

    def _require_gradients(self) -> None:
        if not self._runtime.gradients:
            raise NotOfferedError(
                f"The {self.name} engine has no gradients in {dtype_name(self.dtype)}; "
                "engine='pytorch' has them."
            )

    def _one_by_one(self, graph: str, port: str, values: Tensor, output: str) -> Tensor:
        """Run a codec on one row at a time: a row then does not depend on those beside it."""
        session = self._sessions.get(graph, frozenset({output}))
        return torch.cat([session({port: row[None]})[output] for row in values])

    def _variant(self, call: UNetCall, size: Size, outputs: frozenset[str]) -> Variant:
        """Return the variant that serves the call: one that is open before one that is not.

        A plain step in a run with edits goes through the edited graph if only that is open: two
        graphs would hold the weights twice.
        """
        edits = call.edits
        biased = edits is not None and bool(edits.cross_bias)
        variants = _variants(edits is not None or call.hidden_delta is not None, biased)
        opened = (v for v in variants if self._sessions.find(_unet(v, size), outputs))
        return next(opened, variants[0])


def _variants(edited: bool, biased: bool) -> tuple[Variant, ...]:
    """Return the UNet's graphs that serve a need, the fastest first."""
    if biased:
        return ("bias",)
    return ("edit", "bias") if edited else ("plain", "edit", "bias")


def _gradient_variant(call: UNetCall, wrt: Wrt) -> Variant:
    """Return the graph that is least work to differentiate for a call."""
    edits = call.edits
    edited = edits is not None or call.hidden_delta is not None or wrt == "hidden_delta"
    return _variants(edited, edits is not None and bool(edits.cross_bias))[0]


def _unet(variant: Variant, size: Size) -> str:
    return graph_name(f"unet/{variant}", size)
