"""The runtime: plans from the cache, or built, and sessions that run them."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from underpaint.errors import ModelLoadError
from underpaint.precision import dtype_name

from underpaint_engines.bundle import Graph
from underpaint_engines.cache import cached_plans, prune
from underpaint_engines.plans import read, write
from underpaint_engines.tensorrt.api import Api
from underpaint_engines.tensorrt.builder import OPSET, build
from underpaint_engines.tensorrt.device import describe_device
from underpaint_engines.tensorrt.keys import device_key, plan_key
from underpaint_engines.tensorrt.session import TensorRtSession
from underpaint_engines.tensorrt.stream import CudaStream


class TensorRt:
    """Compiles graphs with TensorRT or TensorRT-RTX for a GPU of this machine, and runs them.

    Parameters
    ----------
    api : which of the two.
    device : a CUDA device.
    dtype : fp32, fp16 or bf16.

    Raises
    ------
    ModelLoadError
        If there is no such device, or for another precision.
    """

    opset = OPSET
    gradients = False  # compiled in the tests; nobody has run them

    def __init__(self, api: Api, device: torch.device, dtype: torch.dtype) -> None:
        dtype_name(dtype)
        _check_device(api, device)
        self.name = api.name
        self.device = torch.device("cuda", device.index or 0)
        self.dtype = dtype
        self.versions = {api.name: api.version}
        self._api = api
        self._machine = describe_device(self.device)
        self._runtime = api.trt.Runtime(api.log)
        # A plan with host code could do anything on the processor; none of ours has any.
        self._runtime.engine_host_code_allowed = False

    def open(self, folder: Path, graph: Graph, outputs: Sequence[str]) -> TensorRtSession:
        """Open a graph with these of its outputs only; its plan is in the cache or is built.

        Raises
        ------
        ModelLoadError
            If TensorRT cannot build the engine, or not open it.
        """
        key = plan_key(self._api, folder, graph, outputs, self._machine)
        with torch.cuda.device(self.device):
            plan = self._plan(key, folder, graph, outputs)
            engine = self._runtime.deserialize_cuda_engine(plan)
            if engine is None:
                raise ModelLoadError(
                    f"{self._api.title} {self._api.version} cannot open the plan of {graph.file}: "
                    f"{self._api.log.take()}. Have it built again: underpaint cache prune --all"
                )
            if not self._api.jit:
                context, stream = engine.create_execution_context(), CudaStream(self.device)
                return TensorRtSession(self._api, context, graph, outputs, stream)
            return self._open_jit(engine, key, graph, outputs)

    def _plan(
        self, key: dict[str, Any], folder: Path, graph: Graph, outputs: Sequence[str]
    ) -> bytes:
        plans = cached_plans()
        new = not plans.file(key).is_file()
        timings = None if self._api.jit else plans.file(device_key(self._api, self._machine))
        plan = plans.get(
            key,
            lambda: build(self._api, folder, graph, outputs, timings=timings),
            what=f"{graph.file} on {self._api.title}",
            dtype=graph.dtype,
        )
        if new:
            prune(keep=[plans.file(key), folder])
        return plan

    def _open_jit(
        self, engine: Any, key: dict[str, Any], graph: Graph, outputs: Sequence[str]
    ) -> TensorRtSession:
        """Open a session whose kernels are compiled when it runs, and kept when it ends."""
        settings = engine.create_runtime_config()
        settings.cuda_graph_strategy = self._api.trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        kernels, file = settings.create_runtime_cache(), cached_plans().file({**key, "jit": True})
        known = read(file)
        if known is not None:
            kernels.deserialize(known)  # which refuses those of another GPU, driver or version
        settings.set_runtime_cache(kernels)
        context, stream = engine.create_execution_context(settings), CudaStream(self.device)
        session = TensorRtSession(self._api, context, graph, outputs, stream)
        what = f"kernels of {graph.file} on {self._api.title}"
        weakref.finalize(session, _keep, file, kernels, what, graph.dtype)
        return session


def _check_device(api: Api, device: torch.device) -> None:
    if device.type == "cuda" and torch.cuda.is_available():
        return
    reason = "" if torch.cuda.is_available() else " torch finds none here."
    raise ModelLoadError(
        f"The {api.name} engine runs on an NVIDIA GPU (device='cuda'), not on {str(device)!r}."
        f"{reason} On a processor, engine='onnxruntime' and engine='openvino' run the same models."
    )


def _keep(file: Path, kernels: Any, what: str, dtype: str) -> None:
    write(file, bytes(kernels.serialize()), what=what, dtype=dtype)
