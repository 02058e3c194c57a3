"""UNets of other families export, match and compile; SDXL's conditions are further inputs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import onnx_ir as ir
import pytest
import torch
from underpaint_engines.checkpoint import open_checkpoint
from underpaint_engines.modules import describe, load_modules
from underpaint_engines.onnxruntime import OnnxRuntime
from underpaint_engines.openvino import OpenVino
from underpaint_engines.sites import derive_sites
from underpaint_engines.tensorrt import rtx
from underpaint_export.graphs import EXAMPLE_ROWS, unet_specs
from underpaint_export.onnx_graph import describe as describe_graph
from underpaint_export.onnx_graph import to_onnx
from underpaint_export.parity import compare
from underpaint_export.tensorrt import compile_ahead
from underpaint_export.weights import share_weights

from tests.tiny_checkpoints import WIDTH, tiny_sdxl_unet

SIZE = (16, 16)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def family(checkpoint):
    """Return a family's modules, description and further inputs."""

    def get(name):
        opened = open_checkpoint(checkpoint("sd2" if name == "sd2" else "sd1"))
        modules = load_modules(opened, torch.float32, CPU)
        info = describe(name, opened, modules)
        if name != "sdxl":
            return modules, info, {}
        unet = tiny_sdxl_unet().eval().requires_grad_(False)
        extra = {
            "added_cond_kwargs.text_embeds": torch.randn(EXAMPLE_ROWS, WIDTH),
            "added_cond_kwargs.time_ids": 16 * torch.rand(EXAMPLE_ROWS, 6),
        }
        return SimpleNamespace(unet=unet), replace(info, sites=derive_sites(unet)), extra

    return get


# Their exports take minutes; that of a bundle is tested in any case.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl"])
def test_an_edited_unet_says_what_pytorch_says(family, name, tmp_path):
    modules, info, extra = family(name)
    spec = unet_specs(modules, info, SIZE, extra)[1]
    model = to_onnx(spec, 23)  # with edits and biases
    share_weights([model], tmp_path / "weights.safetensors")
    ir.save(model, tmp_path / "edit.onnx")
    graph = describe_graph(model, "edit.onnx", "fp32", 16)
    assert {port.name for port in graph.inputs} >= extra.keys()
    assert all(port.shape[0] == "rows" for port in graph.inputs if port.name in extra)
    for runtime in (OnnxRuntime(CPU, torch.float32), OpenVino(CPU, torch.float32)):
        session = runtime.open(tmp_path, graph, [port.name for port in graph.outputs])
        records = compare(spec, graph, lambda opened=session: opened)
        assert len(records) == 4 * len(graph.outputs)
        assert_conditions_matter(session, spec, extra)
    assert compile_ahead(rtx.API)(tmp_path, name, graph).size > 1_000_000


def assert_conditions_matter(session, spec, extra):
    inputs = dict(spec.inputs)
    plain = session(inputs)["noise"].clone()
    for name in extra:
        changed = session({**inputs, name: inputs[name] + 1})["noise"]
        assert (changed - plain).abs().max() > 1e-4, name
