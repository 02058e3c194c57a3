"""The TensorRT-RTX engine: SM 7.5 to 8.9 and 12.x."""

from __future__ import annotations

from pathlib import Path

import tensorrt_rtx_bindings
import torch

from underpaint_engines.cache import open_engine
from underpaint_engines.compiled import CompiledEngine
from underpaint_engines.tensorrt.api import Api
from underpaint_engines.tensorrt.runtime import TensorRt

API = Api("tensorrt-rtx", "TensorRT-RTX", tensorrt_rtx_bindings, jit=True)


def load(
    source: str | Path,
    *,
    name: str,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cuda",
) -> CompiledEngine:
    """Open a bundle, or export a checkpoint on first use and open what was cached.

    Parameters
    ----------
    source : a bundle, a diffusers folder, or a hub name.
    name : the model's name, for messages and recipes.
    dtype : the precision the UNet computes in: fp32, fp16 or bf16.
    device : a CUDA device.

    Raises
    ------
    ModelLoadError
        If the checkpoint or the bundle cannot be used, or there is no such device.
    """
    return open_engine(source, name=name, runtime=TensorRt(API, torch.device(device), dtype))
