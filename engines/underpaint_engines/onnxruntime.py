"""The ONNX Runtime engine: a bundle's graphs on the CPU or CUDA provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor
from underpaint.errors import ModelLoadError
from underpaint.precision import Dtype, dtype_name

from underpaint_engines.bundle import Graph
from underpaint_engines.loading import open_engine
from underpaint_engines.pruning import pruned

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_DTYPES: Mapping[str, tuple[Dtype, ...]] = {"cpu": ("fp32",), "cuda": ("fp32", "fp16")}
"""The CPU provider's attention knows fp32 alone."""

_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


class OnnxRuntime:
    """Compiles graphs with ONNX Runtime.

    Parameters
    ----------
    device : ``cpu`` or ``cuda``.
    dtype : fp32, or on ``cuda`` fp16.

    Raises
    ------
    ModelLoadError
        If the installed ONNX Runtime has no provider for the device, or for another precision.
    """

    name = "onnxruntime"
    opset = 23
    gradients = True

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        provider = PROVIDERS.get(device.type)
        installed = onnxruntime.get_available_providers()
        if provider not in installed:
            raise ModelLoadError(
                f"ONNX Runtime {onnxruntime.__version__} cannot run on {device.type!r}: it has "
                f"{', '.join(installed)}. Use device='cpu', or install onnxruntime-gpu."
            )
        if dtype_name(dtype) not in _DTYPES[device.type]:
            raise ModelLoadError(
                f"The onnxruntime engine on {device.type!r} computes in "
                f"{' or '.join(_DTYPES[device.type])}, not {dtype_name(dtype)}. For bf16 on a "
                "processor that has it use engine='openvino'."
            )
        self.device = device
        self.dtype = dtype
        self._provider = provider
        self.versions = {"onnxruntime": onnxruntime.__version__}

    def open(self, folder: Path, graph: Graph, outputs: Sequence[str]) -> _Session:
        """Compile a graph with these of its outputs only."""
        weights = (folder / graph.file).parent
        options = onnxruntime.SessionOptions()
        # The same number of threads as PyTorch, whose work alternates with the session's.
        options.intra_op_num_threads = torch.get_num_threads()
        # Nor may they spin between two runs, on the cores that PyTorch then needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry(_WEIGHTS_FOLDER, str(weights))
        session = onnxruntime.InferenceSession(
            pruned(folder, graph, outputs), options, providers=[self._provider]
        )
        return _Session(session, graph, tuple(outputs), self.device)


load = partial(open_engine, OnnxRuntime)
"""`open_engine` on ONNX Runtime: on ``cpu`` in fp32, on ``cuda`` in fp32 or fp16."""


class _Session:
    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        graph: Graph,
        outputs: tuple[str, ...],
        device: torch.device,
    ) -> None:
        self._session = session
        self._kinds = {port.name: np.dtype(port.dtype).type for port in graph.inputs}
        self._dtypes = {port.name: getattr(torch, port.dtype) for port in graph.inputs}
        self._inputs = [each.name for each in session.get_inputs()]
        self._outputs = outputs
        self._device = device

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run the graph; inputs are read where they lie, outputs are handed over uncopied."""
        binding = self._session.io_binding()
        held = {
            name: _ready(inputs[name], self._dtypes[name], self._device) for name in self._inputs
        }
        for name, value in held.items():
            binding.bind_input(
                name,
                self._device.type,
                self._device.index or 0,
                self._kinds[name],
                tuple(value.shape),
                value.data_ptr(),
            )
        for name in self._outputs:
            binding.bind_output(name, self._device.type)
        self._session.run_with_iobinding(binding)
        values = binding.get_outputs()
        return {
            name: torch.utils.dlpack.from_dlpack(value)
            for name, value in zip(self._outputs, values, strict=True)
        }


def _ready(value: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    return value.detach().to(device, dtype).contiguous()
