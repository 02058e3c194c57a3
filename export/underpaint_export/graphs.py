"""What is exported: each graph with its example inputs and the names of its ports.

A graph has every reading as an output; a runtime drops those that a run does not ask for before it
compiles, so a tap costs nothing until it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from underpaint.engine import ModelInfo, UNetCall
from underpaint_engines import activations, attention
from underpaint_engines.bundle import graph_name
from underpaint_engines.calls import large_map
from underpaint_engines.inputs import graph_inputs
from underpaint_engines.modules import Modules
from underpaint_engines.readings import (
    GRADIENT,
    LOSS_SCALE,
    NOISE,
    cotangent_name,
    gradient_name,
    is_mean,
    output_name,
)

from underpaint_export.gradients import WRT, GradientGraph
from underpaint_export.wrappers import (
    DecoderGraph,
    EditedUNetGraph,
    EncoderGraph,
    TextGraph,
    UNetGraph,
)

CPU = torch.device("cpu")
EXAMPLE_ROWS = 3
"""Rows of the example inputs: a number that no other dimension has, so none is taken for it."""


@dataclass(frozen=True, eq=False)
class GraphSpec:
    """One graph to export.

    Attributes
    ----------
    name : as in the manifest.
    module : takes the inputs in their order and returns the outputs in theirs.
    inputs : example inputs by name.
    outputs : their names.
    variadic : how many inputs, at the end, the module takes as ``*args``.
    batched : whether rows are dynamic; else there is one.
    biased : the name of the same graph with biases, of which this one is made; None: it is traced.
    differentiated : whether the module runs autograd, which is traced first.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    variadic: int = 0
    batched: bool = False
    biased: str | None = None
    differentiated: bool = False

    @property
    def part(self) -> str:
        """The part of the model, which is the folder of the graph's file."""
        return self.name.partition("@")[0].partition("/")[0]


def unet_specs(
    modules: Modules,
    info: ModelInfo,
    size: tuple[int, int],
    extra: Mapping[str, Tensor] | None = None,
) -> list[GraphSpec]:
    """Return the UNet's graphs for latents of `size` (h, w): plain, with edits and biases, edits.

    `extra` are examples of the further inputs that the UNet takes, `EXAMPLE_ROWS` rows each. The
    processors and hooks are installed on the UNet on the way.
    """
    attention.install(modules.unet)
    activations.install(modules.unet)
    extra = dict(extra or {})
    maps = tuple(
        s.name for s in info.sites.all if s.kind != "activation" and not large_map(s, size)
    )
    features = tuple(site.name for site in info.sites.of_kind("activation"))
    outputs = (
        NOISE,
        *(output_name(site, "mean") for site in maps),
        *(output_name(site, "all") for site in maps),
        *(output_name(site, "feature") for site in features),
    )
    cross = tuple(site.name for site in info.sites.of_kind("cross"))
    call = _example(info, size, extra)
    plain = {"sample": call.sample, "timestep": call.timestep, "context": call.context, **extra}
    edited = graph_inputs(call, info, CPU, biased=False)
    # Biases share the zeros of their level, and would be traced as one input.
    biased = {k: v.clone() for k, v in graph_inputs(call, info, CPU, biased=True).items()}
    readings = (maps, features, tuple(extra))
    bias_graph = graph_name("unet/bias", size)
    spec = partial(GraphSpec, outputs=outputs, batched=True)
    plain_unet = UNetGraph(modules.unet, *readings)
    edited_unet = EditedUNetGraph(modules.unet, *readings)
    biased_unet = EditedUNetGraph(modules.unet, *readings, cross)
    return [
        spec(graph_name("unet/plain", size), plain_unet, plain, variadic=len(extra)),
        spec(bias_graph, biased_unet, biased, variadic=len(cross) + len(extra)),
        spec(
            graph_name("unet/edit", size),
            edited_unet,
            edited,
            variadic=len(extra),
            biased=bias_graph,
        ),
    ]


def gradient_spec(
    modules: Modules,
    info: ModelInfo,
    size: tuple[int, int],
    extra: Mapping[str, Tensor] | None = None,
) -> GraphSpec:
    """Return the graph of the edited UNet's gradients for latents of `size` (h, w).

    It takes the inputs of the graph with biases, `loss_scale` and a cotangent for each output; that
    of a mean over heads is a part of that of all heads.
    """
    biased = unet_specs(modules, info, size, extra)[1]
    assert isinstance(biased.module, EditedUNetGraph)  # noqa: S101
    pulled = [k for k, name in enumerate(biased.outputs) if not is_mean(name)]
    with torch.no_grad():
        values = biased.module(*biased.inputs.values())
    cotangents = {cotangent_name(biased.outputs[k]): torch.randn_like(values[k]) for k in pulled}
    return GraphSpec(
        graph_name(GRADIENT, size),
        GradientGraph(biased.module, list(biased.inputs), pulled),
        {**biased.inputs, LOSS_SCALE: torch.full((EXAMPLE_ROWS,), 64.0), **cotangents},
        tuple(gradient_name(wrt) for wrt in WRT),
        batched=True,
        differentiated=True,
    )


def text_spec(modules: Modules, info: ModelInfo) -> GraphSpec:
    """Return the text encoder's graph, for one prompt."""
    vocabulary = modules.text_encoder.config.vocab_size
    ids = torch.randint(0, vocabulary, (1, info.context_length))
    text = TextGraph(modules.text_encoder)
    return GraphSpec("text_encoder", text, {"ids": ids}, ("embeddings",))


def codec_specs(modules: Modules, info: ModelInfo, size: tuple[int, int]) -> list[GraphSpec]:
    """Return the graphs of the VAE's encoder and decoder for one latent of `size`."""
    images = torch.rand(1, 3, *(side * info.vae_factor for side in size))
    latents = torch.randn(1, info.latent_channels, *size)
    encoder, decoder = EncoderGraph(modules), DecoderGraph(modules)
    return [
        GraphSpec(graph_name("vae_encoder", size), encoder, {"images": images}, ("latents",)),
        GraphSpec(graph_name("vae_decoder", size), decoder, {"latents": latents}, ("images",)),
    ]


def _example(info: ModelInfo, size: tuple[int, int], extra: Mapping[str, Tensor]) -> UNetCall:
    return UNetCall(
        sample=torch.randn(EXAMPLE_ROWS, info.latent_channels, *size),
        timestep=torch.linspace(1, info.noise.levels - 1, EXAMPLE_ROWS),
        context=torch.randn(EXAMPLE_ROWS, info.context_length, info.context_width),
        extra=extra,
    )
