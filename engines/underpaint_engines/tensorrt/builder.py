"""From a bundle's graph to a serialized engine, which NVIDIA calls a plan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from underpaint.errors import ModelLoadError

from underpaint_engines.bundle import Graph
from underpaint_engines.plans import read, write
from underpaint_engines.pruning import pruned
from underpaint_engines.tensorrt.api import Api

OPSET = 23
"""With attention as one operator, for which TensorRT has kernels; see `_allow_unfused`."""

USUAL_ROWS = 4
"""What kernels are chosen for: an image and its source, each with two rows of guidance."""

CLEARED_FLAGS = ("TF32",)
"""The builder's flags that are on unless they are cleared: fp32 is to mean fp32, as elsewhere."""


def profile_rows(graph: Graph) -> tuple[int, int, int]:
    """Return the fewest, the usual and the most rows that an engine of a graph is made for."""
    return 1, min(USUAL_ROWS, graph.max_rows), graph.max_rows


def build(
    api: Api,
    folder: Path,
    graph: Graph,
    outputs: Sequence[str],
    *,
    capability: str | None = None,
    timings: Path | None = None,
) -> bytes:
    """Compile a graph of the bundle in `folder`, with these of its outputs only.

    Parameters
    ----------
    api : what compiles.
    folder, graph, outputs : the graph.
    capability : of the GPU to compile for, e.g. ``SM89``, which need not be there (TensorRT-RTX
        alone); None takes the current device.
    timings : the file with the kernel timings of earlier builds on this device, to which this
        build adds its own.

    Raises
    ------
    ModelLoadError
        If an operator is not supported or no engine can be built; with graph, node and reason.
    """
    with api.building:
        api.log.take()
        builder = api.trt.Builder(api.log)
        # TensorRT 11 and TensorRT-RTX know no other networks; TensorRT 10 has to be asked.
        typed = 1 << int(api.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(typed)
        parser = api.trt.OnnxParser(network, api.log)  # owns the weights until all is built
        _parse(api, parser, folder / graph.file, pruned(folder, graph, outputs))
        _allow_unfused(api.trt, network)
        config = builder.create_builder_config()
        for flag in CLEARED_FLAGS:
            config.clear_flag(getattr(api.trt.BuilderFlag, flag))
        if api.jit:  # else it can only be the current device
            target = getattr(api.trt.ComputeCapability, capability or "CURRENT")
            config.num_compute_capabilities = 1
            config.set_compute_capability(target, 0)
        _add_profile(builder, network, config, profile_rows(graph))
        if timings is not None:
            known = config.create_timing_cache(read(timings) or b"")
            config.set_timing_cache(known, False)  # which refuses those of another device
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise ModelLoadError(
                f"{api.title} {api.version} cannot build {graph.file} for "
                f"{capability or 'this GPU'}: {api.log.take()}"
            )
        if timings is not None:
            measured = bytes(config.get_timing_cache().serialize())
            write(timings, measured, what=f"{api.title}'s timings of kernels", dtype="")
        return bytes(plan)


def _parse(api: Api, parser: Any, file: Path, content: bytes) -> None:
    if parser.parse(content, str(file)):  # weights are found beside the file
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    told = "; ".join(
        f"{error.code().name} {error.node_operator()} {error.node_name()!r} ({error.desc()})"
        for error in errors
    )
    raise ModelLoadError(
        f"{api.title} {api.version} does not take {file.name}: {told or api.log.take()}. "
        "Run this model with engine='onnxruntime' or 'pytorch'."
    )


def _allow_unfused(trt: Any, network: Any) -> None:
    """Let an attention be several kernels where none does it in one.

    There is one for fp16 and bf16 and every head size of Stable Diffusion. There is none for fp32,
    nor for the head sizes below 16 that tiny models have; the build would fail on these.
    """
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == trt.LayerType.ATTENTION_INPUT:
            layer.__class__ = trt.IAttentionInputLayer  # its own; the network hands out the base
            layer.attention.decomposable = True


def _add_profile(builder: Any, network: Any, config: Any, rows: tuple[int, int, int]) -> None:
    """Tell the builder between which bounds the open dimension, rows, moves."""
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        port = network.get_input(index)
        shape = tuple(port.shape)
        bounds = ([count if side == -1 else side for side in shape] for count in rows)
        if -1 in shape:
            profile.set_shape(port.name, *bounds)
    config.add_optimization_profile(profile)
