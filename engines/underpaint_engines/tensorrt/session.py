"""One engine, ready to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor
from underpaint.errors import UnderpaintError

from underpaint_engines.bundle import Graph, Port
from underpaint_engines.tensorrt.api import Api
from underpaint_engines.tensorrt.stream import Stream


@dataclass(frozen=True, eq=False)
class _Buffers:
    """What one number of rows goes in and out by; an engine is told the addresses once."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


class TensorRtSession:
    """Runs one execution context, which serves one call at a time.

    Inputs and outputs have buffers, a set for each number of rows: what the caller gives is copied
    in and what it gets is copied out, on the device, so that the addresses stay right which a CUDA
    graph has captured. Where kernels are chosen at build time the session captures one graph, of
    the shape that runs, from its second run on; TensorRT-RTX captures by itself.

    Parameters
    ----------
    api : what built the engine.
    context : TensorRT's execution context.
    graph, outputs : the graph's record, and the outputs that the engine has.
    stream : where work is queued.
    """

    def __init__(
        self, api: Api, context: Any, graph: Graph, outputs: Sequence[str], stream: Stream
    ) -> None:
        engine = context.engine
        used = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
        self._inputs = [port for port in graph.inputs if port.name in used]
        self._outputs = [port for port in graph.outputs if port.name in outputs]
        self._api = api
        self._context = context
        self._stream = stream
        self._buffers: dict[int, _Buffers] = {}
        self._bound: _Buffers | None = None
        self._warm = False
        self._replay: Callable[[], None] | None = None
        self._lock = Lock()

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run the engine; the outputs belong to the caller.

        Raises
        ------
        UnderpaintError
            If TensorRT refuses a shape, or to run.
        """
        rows = len(inputs[self._inputs[0].name])
        with self._lock:
            buffers = self._bind(rows)
            outputs = {name: torch.empty_like(value) for name, value in buffers.outputs.items()}
            with self._stream.turn():
                for name, value in buffers.inputs.items():
                    value.copy_(inputs[name])
                self._run()
                for name, value in buffers.outputs.items():
                    outputs[name].copy_(value)
        return outputs

    def _bind(self, rows: int) -> _Buffers:
        """Tell the context the shapes and addresses of a number of rows, unless it has them."""
        buffers = self._buffers.get(rows)
        if buffers is not None and buffers is self._bound:
            return buffers
        # What was captured is of other shapes and addresses.
        self._bound, self._replay, self._warm = None, None, False
        for port in self._inputs:
            shape = _shape(port, rows)
            self._ensure(self._context.set_input_shape(port.name, shape), f"{port.name} {shape}")
        if buffers is None:
            buffers = self._buffers[rows] = self._allocate(rows)
        for name, value in (buffers.inputs | buffers.outputs).items():
            self._ensure(self._context.set_tensor_address(name, value.data_ptr()), name)
        self._bound = buffers
        return buffers

    def _allocate(self, rows: int) -> _Buffers:
        device = self._stream.device
        return _Buffers(
            inputs={
                port.name: torch.empty(_shape(port, rows), dtype=_dtype(port), device=device)
                for port in self._inputs
            },
            outputs={
                port.name: torch.empty(
                    tuple(self._context.get_tensor_shape(port.name)),
                    dtype=_dtype(port),
                    device=device,
                )
                for port in self._outputs
            },
        )

    def _run(self) -> None:
        if self._warm and not self._api.jit and self._replay is None:
            self._replay = self._stream.capture(self._launch)
        if self._replay is not None:
            self._replay()
            return
        self._launch()
        self._warm = True  # the first run of a shape prepares what a capture must not

    def _launch(self) -> None:
        self._ensure(self._context.execute_async_v3(self._stream.handle), "to run")

    def _ensure(self, done: bool, what: str) -> None:
        if not done:
            raise UnderpaintError(
                f"{self._api.title} {self._api.version} refuses {what}: {self._api.log.take()}"
            )


def _shape(port: Port, rows: int) -> tuple[int, ...]:
    return tuple(rows if isinstance(side, str) else side for side in port.shape)


def _dtype(port: Port) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, port.dtype)
    return dtype
