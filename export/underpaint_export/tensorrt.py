"""Bundles for TensorRT, written on a machine without its GPU.

There the graphs run on OpenVINO's processor plugin beside PyTorch, which shows that they are right,
and TensorRT-RTX compiles them for a GPU that is not there, which shows that it takes them. That an
engine runs, and how fast, nobody has shown then: "compiled, not executed".
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import openvino
import torch
from underpaint.precision import Dtype
from underpaint_engines.bundle import Compiled, Graph
from underpaint_engines.openvino import OpenVino
from underpaint_engines.runtime import Session
from underpaint_engines.tensorrt.builder import OPSET, build

from underpaint_export.bundle import Compiler

if TYPE_CHECKING:
    from underpaint_engines.tensorrt.api import Api

CAPABILITY = "SM89"
"""What is compiled for: the Ada generation, e.g. RTX 40 and L4."""


class Rehearsal:
    """Stands in for a TensorRT runtime while a bundle is written.

    Parameters
    ----------
    name : of the engine that is to run the bundle.
    dtype : of the UNet's graphs. They are run with fp32 between the operators: the processor has
        neither fp16 nor, often, bf16. Weights are rounded as they are in the graph.
    """

    opset = OPSET
    gradients = False

    def __init__(self, name: str, dtype: torch.dtype) -> None:
        self.name = name
        self.device = torch.device("cpu")
        self.dtype = dtype
        self._executor = _Fp32(self.device, torch.float32)
        self.versions = dict(self._executor.versions)

    def open(self, folder: Path, graph: Graph, outputs: Sequence[str]) -> Session:
        """Open a graph with these of its outputs only."""
        return self._executor.open(folder, graph, outputs)


class _Fp32(OpenVino):
    """Runs graphs of any precision in fp32."""

    def compile(self, model: openvino.Model, dtype: Dtype) -> openvino.CompiledModel:
        del dtype
        return super().compile(model, "fp32")


def compile_ahead(api: Api, capability: str = CAPABILITY) -> Compiler:
    """Return what compiles each graph of a bundle, with all its outputs, for an absent GPU.

    It raises ModelLoadError where a graph cannot be compiled.
    """
    target = f"{api.title} {api.version}, SM {capability[2:-1]}.{capability[-1]}"

    def compile_graph(folder: Path, name: str, graph: Graph) -> Compiled:
        start = time.perf_counter()
        outputs = [port.name for port in graph.outputs]
        plan = build(api, folder, graph, outputs, capability=capability)
        seconds = time.perf_counter() - start
        return Compiled(graph=name, target=target, size=len(plan), seconds=round(seconds, 2))

    return compile_graph
