"""The OpenVINO engine: a bundle's graphs on OpenVINO's CPU plugin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import openvino
import torch
from torch import Tensor
from underpaint.errors import ModelLoadError
from underpaint.precision import Dtype, dtype_name

from underpaint_engines.bundle import Graph
from underpaint_engines.derivative import Derivative
from underpaint_engines.loading import open_engine
from underpaint_engines.openvino_derivative import read_derivative

_HINTS: Mapping[Dtype, str] = {"fp32": "f32", "bf16": "bf16"}
"""OpenVINO would otherwise compute fp32 graphs in bf16 where the processor can."""


class OpenVino:
    """Compiles graphs with OpenVINO, for each number of rows when it is first asked for.

    Parameters
    ----------
    device : ``cpu``.
    dtype : fp32, or bf16 where the processor has it.

    Raises
    ------
    ModelLoadError
        For another device or precision.
    """

    name = "openvino"
    opset = 23

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        if device.type != "cpu":
            raise ModelLoadError(f"The openvino engine runs on device='cpu', not {str(device)!r}.")
        core = openvino.Core()
        able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        wanted = dtype_name(dtype)
        if wanted not in _HINTS or wanted.upper() not in able:
            raise ModelLoadError(
                f"OpenVINO does not compute in {wanted} on this processor (it has "
                f"{', '.join(able)}). Use fp32."
            )
        self.device = device
        self.dtype = dtype
        # In bf16 nobody has compared derivatives with autograd yet.
        self.gradients = dtype == torch.float32
        self.versions = {"openvino": openvino.__version__}
        self._core = core

    def open(self, folder: Path, graph: Graph, outputs: Sequence[str]) -> _Session:
        """Read a graph with these of its outputs only."""
        if isinstance(graph, Derivative):
            model = read_derivative(self._core, folder, graph, outputs)
            return _Session(self, model, graph, tuple(outputs))
        model = self._core.read_model(folder / graph.file)
        known = {name for output in model.outputs for name in output.names}
        model.add_outputs([name for name in outputs if name not in known])
        kept = [model.output(name) for name in outputs]
        pruned = openvino.Model(kept, model.get_parameters(), graph.file)
        return _Session(self, pruned, graph, tuple(outputs))

    def compile(self, model: openvino.Model, dtype: Dtype) -> openvino.CompiledModel:
        """Compile a model whose shapes are all known."""
        config: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": _HINTS[dtype],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        return self._core.compile_model(model, "CPU", config)


load = partial(open_engine, OpenVino)
"""`open_engine` on OpenVINO: on ``cpu`` in fp32, or in bf16 where the processor has it."""


class _Session:
    """One compiled model for each number of rows; fixed shapes run faster than open ones."""

    def __init__(
        self, runtime: OpenVino, model: openvino.Model, graph: Graph, outputs: tuple[str, ...]
    ) -> None:
        self._runtime = runtime
        self._model = model
        # A derivative does not take those of its graph's inputs that it does not depend on.
        taken = {port.any_name for port in model.inputs}
        self._ports = [port for port in graph.inputs if port.name in taken]
        self._dtype = graph.dtype
        self._outputs = outputs
        self._requests: dict[int, _Requests] = {}
        self._lock = Lock()

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run the graph; inputs are read where they lie."""
        ready = {port.name: _ready(inputs[port.name], port.dtype) for port in self._ports}
        with self._for(ready).one() as request:
            request.infer({name: value.numpy() for name, value in ready.items()}, share_inputs=True)
            # The outputs lie in the request's memory, which its next run writes to.
            return {
                name: torch.from_numpy(request.get_tensor(name).data.copy())
                for name in self._outputs
            }

    def _for(self, inputs: Mapping[str, Tensor]) -> _Requests:
        rows = len(inputs[self._ports[0].name])
        with self._lock:
            if rows not in self._requests:
                fixed = self._model.clone()
                fixed.reshape({name: list(value.shape) for name, value in inputs.items()})
                self._requests[rows] = _Requests(self._runtime.compile(fixed, self._dtype))
        return self._requests[rows]


class _Requests:
    """The inference requests of a compiled model: as many as ever ran at the same time."""

    def __init__(self, compiled: openvino.CompiledModel) -> None:
        self._compiled = compiled
        self._idle: SimpleQueue[openvino.InferRequest] = SimpleQueue()

    @contextmanager
    def one(self) -> Iterator[openvino.InferRequest]:
        """Lend a request that nobody else uses."""
        try:
            request = self._idle.get_nowait()
        except Empty:
            request = self._compiled.create_infer_request()
        try:
            yield request
        finally:
            self._idle.put(request)


def _ready(value: Tensor, dtype: str) -> Tensor:
    return value.detach().to("cpu", getattr(torch, dtype)).contiguous()
