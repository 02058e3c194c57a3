"""The TensorRT-RTX engine: SM 7.5 to 8.9 and 12.x."""

from __future__ import annotations

from functools import partial

import tensorrt_rtx_bindings

from underpaint_engines.loading import open_engine
from underpaint_engines.tensorrt.api import Api
from underpaint_engines.tensorrt.runtime import TensorRt

API = Api("tensorrt-rtx", "TensorRT-RTX", tensorrt_rtx_bindings, jit=True)

load = partial(open_engine, partial(TensorRt, API), device="cuda")
"""`open_engine` on TensorRT-RTX: on a CUDA device in fp32, fp16 or bf16."""
