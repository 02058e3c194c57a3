"""Pulling cotangents back through a compiled engine: one run of the graph of gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor
from underpaint.engine import EditInputs, ModelInfo, UNetCall, UNetOutput
from underpaint.errors import ModelLoadError, NotOfferedError
from underpaint.records import Wrt

from underpaint_engines.bundle import Graph, Port, graph_name, read_manifest
from underpaint_engines.inputs import bias_input, graph_inputs, is_bias
from underpaint_engines.readings import (
    GRADIENT,
    LOSS_SCALE,
    NOISE,
    cotangent_name,
    gradient_name,
    is_cotangent,
    output_name,
)
from underpaint_engines.rows import chosen, closed, loss_scale, with_values
from underpaint_engines.sessions import Sessions

Size = tuple[int, int]
OpenGradients = Callable[[Size], Path]
"""Makes, or finds, a bundle with the graph of gradients for latents of a size."""

_EDITS = ("cross_map", "self_q", "self_k", "self_v")
"""Inputs that are zero where nothing is edited."""


@dataclass(eq=False)
class Gradients:
    """Gradients of a bundle's UNet. Thread-safe.

    Attributes
    ----------
    sessions : of the bundle.
    export : makes the graph where the bundle has none; None where it cannot be made.
    """

    sessions: Sessions
    export: OpenGradients | None
    _made: dict[Size, Sessions] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def prepare(self, size: Size) -> Sessions:
        """Return where the graph for latents of `size` is, after an export if need be.

        Raises
        ------
        NotOfferedError
            If there is none, and none can be made.
        """
        own = self.sessions
        if not own.runtime.gradients:
            raise NotOfferedError(
                f"The {own.runtime.name} engine has no gradients; engine='pytorch' and "
                "engine='onnxruntime' have them."
            )
        if graph_name(GRADIENT, size) in own.manifest.graphs:
            return own
        if self.export is None:
            raise NotOfferedError(
                f"The bundle {own.folder} has no gradients for latents of {size[0]}x{size[1]}; "
                "engine='pytorch' has them, and so has a bundle that was exported with them: "
                "underpaint export MODEL --gradients."
            )
        with self._lock:
            if size not in self._made:
                self._made[size] = self._open(self.export, size)
            return self._made[size]

    def _open(self, export: OpenGradients, size: Size) -> Sessions:
        try:
            folder = export(size)
        except ModelLoadError as error:
            raise NotOfferedError(
                f"The {self.sessions.runtime.name} engine has no gradients of this model: {error}"
            ) from error
        return Sessions(folder, read_manifest(folder), self.sessions.runtime)

    def pull(self, call: UNetCall, info: ModelInfo, wrt: Wrt, cotangents: UNetOutput) -> Tensor:
        """Return the gradient by `wrt`, ``[R, ...]`` fp32; rows that nothing reaches are zero."""
        size = (call.sample.shape[2], call.sample.shape[3])
        name, output = graph_name(GRADIENT, size), gradient_name(wrt)
        sessions = self.prepare(size)
        graph = sessions.manifest.graphs[name]
        device = sessions.runtime.device
        given = {
            port: value.detach().to(device, torch.float32)
            for port, value in _by_port(call, cotangents, graph).items()
        }
        live, rows = with_values(given)
        point = graph_inputs(call, info, device, biased=False)
        point = {**point, **_biases(call.edits)}
        total = torch.zeros_like(point[wrt], dtype=torch.float32, device=device)
        if not len(rows):
            return total
        rows = closed(rows, point["source_row"])
        some = chosen({**point, **live}, rows)
        some[LOSS_SCALE] = loss_scale([some[port] for port in live])
        zeros = frozenset(_absent(call, graph, live))
        session = sessions.get(name, frozenset({output}), zeros)
        got = session(_filled(some, graph, len(rows), device))[output]
        total[rows] = got.to(total)
        return total


def _by_port(call: UNetCall, cotangents: UNetOutput, graph: Graph) -> dict[str, Tensor]:
    """Return the cotangents by input; that of a mean over heads is an equal part of each head's."""
    shapes = {port.name: port.shape for port in graph.inputs}
    found = {cotangent_name(NOISE): cotangents.noise}
    for site, value in cotangents.maps.items():
        port = cotangent_name(output_name(site, "all"))
        heads = shapes[port][1]
        assert isinstance(heads, int)  # noqa: S101  (only rows are open)
        found[port] = (
            value.expand(-1, heads, -1, -1) / heads if call.maps[site] == "mean" else value
        )
    for site, value in cotangents.features.items():
        found[cotangent_name(output_name(site, "feature"))] = value
    return found


def _biases(edits: EditInputs | None) -> dict[str, Tensor]:
    return {bias_input(site): value for site, value in edits.cross_bias.items()} if edits else {}


def _absent(call: UNetCall, graph: Graph, live: Mapping[str, Tensor]) -> set[str]:
    """Return the inputs that are zero in this call."""
    absent = {port.name for port in graph.inputs if is_cotangent(port.name)} - live.keys()
    absent |= {port.name for port in graph.inputs if is_bias(port.name)}
    absent -= _biases(call.edits).keys()
    if call.edits is None:
        absent |= set(_EDITS)
    if call.hidden_delta is None:
        absent.add("hidden_delta")
    return absent


def _filled(
    given: Mapping[str, Tensor], graph: Graph, rows: int, device: torch.device
) -> dict[str, Tensor]:
    """Return every input of the graph; what is not given is zero, and takes no memory."""

    def zeros(port: Port) -> Tensor:
        shape = [side if isinstance(side, int) else rows for side in port.shape]
        return torch.zeros((), device=device).expand(shape)

    return {
        port.name: given[port.name] if port.name in given else zeros(port) for port in graph.inputs
    }
