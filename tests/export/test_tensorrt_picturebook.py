"""picturebook's graphs, and one of Stable Diffusion's size, compiled by TensorRT-RTX for SM 8.9."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest
import torch
from underpaint import registry
from underpaint.precision import torch_dtype
from underpaint_engines.bundle import read_manifest
from underpaint_engines.checkpoint import open_checkpoint
from underpaint_engines.modules import describe, load_modules
from underpaint_engines.tensorrt import builder
from underpaint_engines.tensorrt.rtx import API
from underpaint_export.graphs import unet_specs
from underpaint_export.onnx_graph import describe as describe_graph
from underpaint_export.onnx_graph import to_onnx
from underpaint_export.tensorrt import compile_ahead
from underpaint_export.weights import share_weights


@pytest.fixture
def fused(monkeypatch):
    """Let every attention be one kernel, or the build fail."""
    monkeypatch.setattr(builder, "_allow_unfused", lambda *args: None)


def write_graph(folder, spec, dtype):
    """Write one graph, without comparing it, and return its record."""
    folder.mkdir()
    model = to_onnx(spec, builder.OPSET)
    share_weights([model], folder / "weights.safetensors")
    ir.save(model, folder / "graph.onnx")
    return describe_graph(model, "graph.onnx", dtype, 16 if spec.batched else 1)


def load_parts(source, dtype):
    opened = open_checkpoint(source)
    modules = load_modules(opened, torch_dtype(dtype), torch.device("cpu"))
    return modules, describe("a model", opened, modules)


def edited_unet(source, dtype):
    """Return the UNet with edits, biases and all its readings."""
    modules, info = load_parts(source, dtype)
    _, biased, _ = unet_specs(modules, info, info.latent_size)
    return biased


@pytest.fixture(scope="session")
def picturebook():
    return Path(registry.load("models", "picturebook")())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_picturebooks_edited_unet_compiles_with_fused_attention(
    picturebook, dtype, tmp_path, fused
):
    graph = write_graph(tmp_path / "unet", edited_unet(picturebook, dtype), dtype)
    compiled = compile_ahead(API)(tmp_path / "unet", "unet", graph)
    assert compiled.size > 10_000_000


def test_every_graph_of_picturebook_compiles_in_fp32(picturebook_bundle):
    graphs = read_manifest(picturebook_bundle).graphs
    assert {name.partition("@")[0] for name in graphs} == {
        "text_encoder",
        "vae_encoder",
        "vae_decoder",
        "unet/plain",
        "unet/edit",
        "unet/bias",
    }
    for name, graph in graphs.items():
        assert compile_ahead(API)(picturebook_bundle, name, graph).size > 1_000_000


@pytest.mark.slow
def test_the_edited_unet_of_stable_diffusions_size_compiles(tmp_path, fused):
    from benchmarks.full_size import save_full_size_checkpoint

    source = save_full_size_checkpoint(tmp_path / "checkpoint")
    graph = write_graph(tmp_path / "unet", edited_unet(source, "fp16"), "fp16")
    compiled = compile_ahead(API)(tmp_path / "unet", "unet", graph)
    assert compiled.size > 1_700_000_000  # the weights
