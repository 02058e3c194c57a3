"""The runtime, with a library that does nothing, and what it says where something is missing."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from underpaint import registry
from underpaint.cache_folder import FOLDER_VARIABLE
from underpaint.errors import ModelLoadError, PluginError
from underpaint_engines import cache
from underpaint_engines.tensorrt import device, rtx, runtime
from underpaint_engines.tensorrt.api import Api
from underpaint_engines.tensorrt.runtime import TensorRt

from tests.engines.tensorrt.doubles import MACHINE, Library, Stream, run


@pytest.fixture
def on_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(runtime, "describe_device", lambda device: MACHINE)
    monkeypatch.setattr(runtime, "CudaStream", lambda device: Stream())
    built = []

    def build(api, folder, graph, outputs, *, timings):
        built.append(timings)
        return b"plan" if graph.max_rows > 1 else b"broken"

    monkeypatch.setattr(runtime, "build", build)
    return built


def test_a_plan_is_built_once_and_opened_again(on_a_gpu, api, write_graph, tmp_path):
    api = Api("tensorrt", "TensorRT", Library, jit=False)
    for _ in range(2):
        engine = TensorRt(api, torch.device("cuda"), torch.float16)
        run(engine.open(tmp_path, write_graph(), ["y"]), 2)
    assert (engine.device, engine.opset) == (torch.device("cuda:0"), 23)
    (timings,) = on_a_gpu
    assert timings.parent == cache.cached_plans().folder


def test_compiled_kernels_are_kept_when_a_session_ends(on_a_gpu, write_graph, tmp_path):
    api = Api("tensorrt-rtx", "TensorRT-RTX", Library, jit=True)
    engine = TensorRt(api, torch.device("cuda:1"), torch.bfloat16)
    session = engine.open(tmp_path, write_graph(), ["y"])
    settings = session._context.settings
    assert (settings.cuda_graph_strategy, settings.kernels.known) == ("whole", None)
    del session
    session = engine.open(tmp_path, write_graph(), ["y"])
    assert session._context.settings.kernels.known == b"kernels"
    assert on_a_gpu == [None]


def test_a_plan_that_cannot_be_opened_says_what_to_do(on_a_gpu, write_graph, tmp_path):
    api = Api("tensorrt", "TensorRT", Library, jit=False)
    engine = TensorRt(api, torch.device("cuda"), torch.float32)
    graph = write_graph().model_copy(update={"max_rows": 1})
    with pytest.raises(ModelLoadError, match="underpaint cache prune"):
        engine.open(tmp_path, graph, ["y"])


# What is missing


def test_a_driver_without_its_library_is_named(monkeypatch):
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda _: SimpleNamespace(name="a GPU", major=8, minor=9),
    )
    monkeypatch.setattr(device, "NVML", "libnothing.so")
    with pytest.raises(ModelLoadError, match=r"libnothing\.so"):
        device.describe_device(torch.device("cuda"))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_without_a_gpu_it_names_engines_that_run_here(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelLoadError, match=r"tensorrt-rtx .*GPU.* engine='onnxruntime'"):
        rtx.load("owner/name", name="tiny", device=device)


@pytest.mark.parametrize(
    ("name", "package", "module"),
    [("tensorrt", "tensorrt", "standard"), ("tensorrt-rtx", "tensorrt_rtx_bindings", "rtx")],
)
def test_an_absent_package_is_named_with_what_brings_it(monkeypatch, name, package, module):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"underpaint_engines.tensorrt.{module}", raising=False)
    with pytest.raises(PluginError, match=rf"pip install 'underpaint\[{name}\]'"):
        registry.load("engines", name)


def test_it_is_installed():
    assert registry.load("engines", "tensorrt-rtx") is rtx.load
