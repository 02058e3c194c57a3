"""The engine of a bundle: graphs that a runtime compiles, chosen by what a call needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

import torch
from tokenizers import Tokenizer
from torch import Tensor
from underpaint.engine import EditInputs, Engine, ModelInfo, Pullback, UNetCall, UNetOutput
from underpaint.errors import ModelLoadError, NotOfferedError
from underpaint.precision import dtype_name
from underpaint.records import Needs, Wrt
from underpaint.tokens import Tokens

from underpaint_engines.bundle import TOKENIZER, Manifest, graph_name
from underpaint_engines.calls import (
    check_call,
    check_images,
    check_latents,
    hidden_shape,
    refuse_large,
)
from underpaint_engines.fallback import Fallback
from underpaint_engines.readings import NOISE, feature_outputs, map_outputs, output_name
from underpaint_engines.runtime import Runtime, Session
from underpaint_engines.scorer import ClipScorer
from underpaint_engines.tokenizer import PromptTokenizer

Size = tuple[int, int]


@dataclass(eq=False)
class Sessions:
    """The graphs opened so far; opening one waits, using one does not.

    A session with more outputs serves a call that needs fewer.
    """

    folder: Path
    manifest: Manifest
    runtime: Runtime
    _open: dict[str, dict[frozenset[str], Session]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def find(self, graph: str, outputs: frozenset[str]) -> Session | None:
        """Return the open session with the fewest outputs that has these, if any."""
        fitting = {o: s for o, s in self._open.get(graph, {}).items() if outputs <= o}
        return fitting[min(fitting, key=len)] if fitting else None

    def get(self, graph: str, outputs: frozenset[str]) -> Session:
        """Return a session that has these outputs, opening one if there is none.

        Raises
        ------
        NotOfferedError
            If the bundle has no such graph.
        """
        found = self.find(graph, outputs)
        if found is not None:
            return found
        if graph not in self.manifest.graphs:
            raise NotOfferedError(
                f"The bundle {self.folder} has no graph {graph}; it has "
                f"{', '.join(self.manifest.graphs)}. Export it with the sizes you need: "
                "underpaint export MODEL --size 256,512."
            )
        with self._lock:
            return self.find(graph, outputs) or self._compile(graph, outputs)

    def _compile(self, graph: str, outputs: frozenset[str]) -> Session:
        record = self.manifest.graphs[graph]
        ordered = [port.name for port in record.outputs if port.name in outputs]
        session = self.runtime.open(self.folder, record, ordered)
        self._open[graph] = {**self._open.get(graph, {}), outputs: session}
        return session


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

        Raises
        ------
        UnknownSiteError
            If a tap matches no site.
        NotOfferedError
            If a tap asks for self maps above 32x32, a gradient or a bias is asked for, or the
            bundle has no graphs of that size.
        """
        if needs.gradient:
            raise self._no_gradients()
        if needs.cross_bias:
            raise self._no_bias()
        outputs = {NOISE}
        for tap in needs.taps:
            sites = self._info.sites.select(tap.selector)
            refuse_large(sites, size)
            outputs |= {
                output_name(s.name, "feature" if s.kind == "activation" else tap.heads)
                for s in sites
            }
        variant = "edit" if needs.edits or needs.hidden_delta else "plain"
        self._sessions.get(_unet(variant, size), frozenset(outputs))

    def fallback(self) -> Engine | None:
        """Return the PyTorch engine of the same checkpoint, where that is at hand."""
        return self._fallback() if self._fallback else None

    def scorer(self) -> ClipScorer | None:
        """Return the CLIP of the same checkpoint, where that is at hand and has one."""
        return self._fallback.scorer() if self._fallback else None

    def predict(self, call: UNetCall) -> UNetOutput:
        """Run the UNet once.

        Raises
        ------
        InvalidRequestError, UnknownSiteError, NotOfferedError
            If the call does not fit the model or the bundle; the message names the field.
        """
        check_call(call, self._info, self.max_rows)
        if call.edits is not None and call.edits.cross_bias:
            raise self._no_bias()
        maps, features = map_outputs(call), feature_outputs(call)
        session = self._session(call, frozenset({NOISE, *maps.values(), *features.values()}))
        out = session(self._inputs(call))
        return UNetOutput(
            noise=out[NOISE],
            maps={site: out[name] for site, name in maps.items()},
            features={site: out[name] for site, name in features.items()},
        )

    def linearize(self, call: UNetCall, wrt: Wrt) -> tuple[UNetOutput, Pullback]:
        """Refuse: this engine has no gradients.

        Raises
        ------
        NotOfferedError
            Always.
        """
        del call, wrt
        raise self._no_gradients()

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

    def _no_gradients(self) -> NotOfferedError:
        return NotOfferedError(
            f"The {self.name} engine has no gradients; engine='pytorch' has them."
        )

    def _no_bias(self) -> NotOfferedError:
        return NotOfferedError(
            f"The {self.name} engine adds no bias to attention (cross_bias); engine='pytorch' does."
        )

    def _one_by_one(self, graph: str, port: str, values: Tensor, output: str) -> Tensor:
        """Run a codec on one row at a time: a row then does not depend on those beside it."""
        session = self._sessions.get(graph, frozenset({output}))
        return torch.cat([session({port: row[None]})[output] for row in values])

    def _session(self, call: UNetCall, outputs: frozenset[str]) -> Session:
        """Return an open session that serves the call, the plain graph's before the edited one's.

        A plain step in a run with edits goes through the edited graph if only that is open: two
        graphs would hold the weights twice.
        """
        size = (call.sample.shape[2], call.sample.shape[3])
        edited = call.edits is not None or call.hidden_delta is not None
        variants = ("edit",) if edited else ("plain", "edit")
        for variant in variants:
            found = self._sessions.find(_unet(variant, size), outputs)
            if found is not None:
                return found
        return self._sessions.get(_unet(variants[0], size), outputs)

    def _inputs(self, call: UNetCall) -> Mapping[str, Tensor]:
        """Return every input that any graph has; a session takes its own."""
        rows, info = len(call.sample), self._info
        sites = len(info.sites.of_kind("self"))
        edits = call.edits or EditInputs.identity(rows, info.context_length, sites, self.device)
        delta = call.hidden_delta
        return {
            "sample": call.sample,
            "timestep": call.timestep,
            "context": call.context,
            "source_row": edits.source_row,
            "cross_map": edits.cross_map,
            "cross_scale": edits.cross_scale,
            "self_q": edits.self_q,
            "self_k": edits.self_k,
            "self_v": edits.self_v,
            "hidden_delta": torch.zeros(hidden_shape(call.sample, info), device=self.device)
            if delta is None
            else delta,
            **call.extra,
        }


def _unet(variant: str, size: Size) -> str:
    return graph_name(f"unet/{variant}", size)
