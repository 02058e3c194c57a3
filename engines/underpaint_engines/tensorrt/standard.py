"""The TensorRT engine: builds on the GPU that it runs on."""

from __future__ import annotations

from functools import partial

import tensorrt

from underpaint_engines.loading import open_engine
from underpaint_engines.tensorrt.api import Api
from underpaint_engines.tensorrt.runtime import TensorRt

API = Api("tensorrt", "TensorRT", tensorrt, jit=False)

load = partial(open_engine, partial(TensorRt, API), device="cuda")
"""`open_engine` on TensorRT: on a CUDA device in fp32, fp16 or bf16."""
