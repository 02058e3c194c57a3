"""The TensorRT engine: builds on the GPU that it runs on."""

from __future__ import annotations

from pathlib import Path

import tensorrt
import torch

from underpaint_engines.cache import open_engine
from underpaint_engines.compiled import CompiledEngine
from underpaint_engines.tensorrt.api import Api
from underpaint_engines.tensorrt.runtime import TensorRt

API = Api("tensorrt", "TensorRT", tensorrt, jit=False)


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
