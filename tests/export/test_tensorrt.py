"""Bundles for TensorRT from a machine without its GPU: compiled for one, never executed."""

from __future__ import annotations

import json
import sys
from functools import cache

import onnx
import pytest
import torch
from underpaint.errors import ModelLoadError
from underpaint.precision import torch_dtype
from underpaint_engines.bundle import read_manifest
from underpaint_engines.derivative import derivative
from underpaint_engines.tensorrt.rtx import API
from underpaint_export.bundle import write_bundle
from underpaint_export.tensorrt import Rehearsal, compile_ahead

GRAPHS = {
    "text_encoder",
    "vae_encoder@16x16",
    "vae_decoder@16x16",
    "unet/plain@16x16",
    "unet/edit@16x16",
    "unet/bias@16x16",
}


@pytest.fixture(scope="session")
def tensorrt_bundle_of(checkpoint, tmp_path_factory):
    """Return a tiny checkpoint's bundle for TensorRT-RTX in a precision."""
    folder = tmp_path_factory.mktemp("tensorrt")

    def export(dtype):
        runtime = Rehearsal("tensorrt-rtx", torch_dtype(dtype))
        write_bundle(
            checkpoint("tiny-vae"),
            folder / dtype,
            runtime=runtime,
            name="tiny",
            compiler=compile_ahead(API),
            quiet=True,
        )
        return folder / dtype

    return cache(export)


@pytest.fixture
def no_unet(monkeypatch):
    """Leave the UNet out of bundles: its graphs take most of an export's time."""
    monkeypatch.setattr("underpaint_export.bundle.unet_specs", lambda *args: [])


# A tiny checkpoint, whole

SLOW = pytest.mark.slow  # TensorRT-RTX takes up to two minutes
BF16 = pytest.mark.slow  # one more export, which takes a minute


@pytest.mark.parametrize("dtype", ["fp16", pytest.param("bf16", marks=BF16)])
def test_every_graph_compiles(tensorrt_bundle_of, dtype):
    manifest = read_manifest(tensorrt_bundle_of(dtype))
    assert (manifest.dtype, manifest.opset) == (dtype, 23)
    assert {each.graph for each in manifest.compiled} == manifest.graphs.keys() == GRAPHS
    assert all(each.size > 100_000 for each in manifest.compiled)
    assert {each.target for each in manifest.compiled} == {f"TensorRT-RTX {API.version}, SM 8.9"}
    assert {name: graph.dtype for name, graph in manifest.graphs.items()} == {
        name: dtype if name.startswith("unet") else "fp32" for name in GRAPHS
    }


def test_every_graph_of_a_bundle_in_fp32_compiles(bundle_of):
    folder = bundle_of("tiny-vae")
    graphs = read_manifest(folder).graphs
    assert graphs.keys() == GRAPHS
    compile_graph = compile_ahead(API)
    for name, graph in graphs.items():
        compiled = compile_graph(folder, name, graph)
        assert (compiled.graph, compiled.size > 100_000) == (name, True)


@pytest.mark.parametrize(
    "point", [*(pytest.param(p, marks=SLOW) for p in ("sample", "context")), "hidden_delta"]
)
def test_gradients_by_every_input_compile(bundle_of, point):
    """Of all that an energy can look at; made of the graph, as for the other runtimes."""
    folder = bundle_of("tiny-vae")
    graph = read_manifest(folder).graphs["unet/edit@16x16"]
    gradient = derivative(graph, point, frozenset(port.name for port in graph.outputs))
    compiled = compile_ahead(API)(folder, f"gradient by {point}", gradient)
    assert compiled.size > 100_000


@pytest.mark.parametrize(
    ("dtype", "least"), [("fp16", 1e-5), pytest.param("bf16", 1e-4, marks=BF16)]
)
def test_graphs_say_what_pytorch_says_in_their_precision(tensorrt_bundle_of, dtype, least):
    manifest = read_manifest(tensorrt_bundle_of(dtype))
    assert all(each.difference <= each.tolerance for each in manifest.parity)
    noise = [each.difference for each in manifest.parity if each.output == "noise"]
    assert len(noise) == 2 + 4 + 4
    assert min(noise) > least  # it does not compute in fp32


@pytest.mark.parametrize("dtype", ["fp16", pytest.param("bf16", marks=BF16)])
def test_weights_and_attention_are_of_the_precision(tensorrt_bundle_of, dtype):
    folder = tensorrt_bundle_of(dtype)
    graph = onnx.load(folder / "unet/edit_16x16.onnx", load_external_data=False).graph
    kind = {"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}[dtype]
    outside = [i for i in graph.initializer if i.data_location == onnx.TensorProto.EXTERNAL]
    assert outside
    assert {each.data_type for each in outside} == {kind}
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    attention = [node for node in graph.node if node.op_type == "Attention"]
    assert attention
    assert {types[node.output[0]] for node in attention} == {kind}


# What is refused


def test_a_graph_that_is_refused_leaves_no_bundle(checkpoint, tmp_path, no_unet):
    def refuse(folder, name, graph):
        model = onnx.load(folder / graph.file, load_external_data=False)
        model.graph.node[-1].op_type = "Det"
        onnx.save(model, folder / graph.file)
        return compile_ahead(API)(folder, name, graph)

    with pytest.raises(ModelLoadError, match=r"text_encoder\.onnx: .* Det "):
        write_bundle(
            checkpoint("tiny-vae"),
            tmp_path / "bundle",
            runtime=Rehearsal("tensorrt-rtx", torch.float16),
            name="tiny",
            compiler=refuse,
            quiet=True,
        )
    assert not list(tmp_path.iterdir())


# On the command line


@pytest.fixture
def export(checkpoint, tmp_path, monkeypatch, capsys, no_unet):
    from underpaint.cli import main

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def run(*flags):
        folder = tmp_path / "bundle"
        code = main(["export", str(checkpoint("tiny-vae")), "-o", str(folder), *flags])
        return code, capsys.readouterr(), folder

    return run


def test_the_command_compiles_and_says_that_nothing_was_executed(export):
    code, said, folder = export("--to", "tensorrt-rtx", "--dtype", "bf16")
    assert code == 0
    assert f"Compiled, not executed, by TensorRT-RTX {API.version}, SM 8.9" in said.out
    assert "--engine tensorrt-rtx --device cuda" in said.out
    assert read_manifest(folder).dtype == "bf16"


def test_the_command_says_that_nothing_was_compiled(export):
    code, said, folder = export("--to", "tensorrt", "--dtype", "fp16")
    assert code == 0
    assert "Compared, not compiled" in said.out
    assert read_manifest(folder).compiled == ()


def test_the_commands_json_has_what_was_compiled(export):
    _, said, _ = export("--to", "tensorrt-rtx", "--json")
    compiled = json.loads(said.out)["compiled"]
    assert len(compiled) == 3


@pytest.mark.parametrize(
    ("package", "module", "extra"),
    [
        ("tensorrt_rtx_bindings", "underpaint_engines.tensorrt.rtx", "tensorrt-rtx"),
        ("openvino", "underpaint_engines.openvino", "openvino"),
    ],
)
def test_the_command_says_what_is_not_installed(export, monkeypatch, package, module, extra):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    code, said, folder = export("--to", "tensorrt-rtx")
    assert code == 2
    assert f"pip install 'underpaint[{extra}]'" in said.err
    assert not folder.exists()
