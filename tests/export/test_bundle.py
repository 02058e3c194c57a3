"""Export: what a bundle holds, and what is refused."""

from __future__ import annotations

import json
from collections import Counter

import onnx
import pytest
import torch
from safetensors import safe_open
from underpaint.errors import InvalidRequestError, ModelLoadError
from underpaint_engines.bundle import MANIFEST, Graph, read_manifest, verify
from underpaint_engines.inputs import bias_input
from underpaint_engines.onnxruntime import OnnxRuntime
from underpaint_engines.pruning import pruned
from underpaint_export import parity
from underpaint_export.bundle import write_bundle
from underpaint_export.graphs import GraphSpec

RUNTIME = OnnxRuntime(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def bundle(bundle_of):
    return bundle_of("tiny-vae")


@pytest.fixture(scope="module")
def manifest(bundle):
    return read_manifest(bundle)


def operators(content):
    return Counter(node.op_type for node in onnx.load_from_string(content).graph.node)


def test_the_manifest_names_every_file(bundle, manifest):
    verify(bundle, manifest)
    files = {f.relative_to(bundle).as_posix() for f in bundle.rglob("*") if f.is_file()}
    assert files == {*manifest.files, MANIFEST}
    assert {graph.file for graph in manifest.graphs.values()} <= files
    assert sorted(manifest.graphs) == [
        "text_encoder", "unet/bias@16x16", "unet/edit@16x16", "unet/plain@16x16",
        "vae_decoder@16x16", "vae_encoder@16x16",
    ]  # fmt: skip
    assert not any(file.endswith((".bin", ".pkl", ".pt")) for file in files)


def test_every_graph_was_compared_on_two_inputs_with_edits_on_and_off(manifest):
    cases = {name: {p.case for p in manifest.parity if p.graph == name} for name in manifest.graphs}
    assert cases["unet/plain@16x16"] == {"input 1", "input 2"}
    assert (
        cases["unet/edit@16x16"]
        == cases["unet/bias@16x16"]
        == {f"input {k}, edits {state}" for k in (1, 2) for state in ("on", "off")}
    )
    compared = {p.output for p in manifest.parity if p.graph == "unet/edit@16x16"}
    assert compared == {port.name for port in manifest.graphs["unet/edit@16x16"].outputs}
    assert all(p.difference <= p.tolerance for p in manifest.parity)


def test_graphs_of_a_part_share_their_weights(bundle, manifest):
    with safe_open(bundle / "unet" / "weights.safetensors", framework="pt") as weights:
        names = list(weights.keys())
    assert len(names) == len(set(names))
    sizes = {}
    for variant in ("plain", "edit", "bias"):
        graph = onnx.load(bundle / f"unet/{variant}_16x16.onnx", load_external_data=False).graph
        outside = [i for i in graph.initializer if i.data_location == onnx.TensorProto.EXTERNAL]
        places = {tuple((e.key, e.value) for e in i.external_data) for i in outside}
        sizes[variant] = places
        assert {dict(place)["location"] for place in places} == {"weights.safetensors"}
    assert sizes["plain"] <= sizes["edit"] == sizes["bias"]
    assert len(sizes["edit"]) == len(names)


@pytest.mark.parametrize("variant", ["plain", "edit", "bias"])
def test_no_map_of_the_main_path_exists_and_a_tap_adds_one(bundle, manifest, variant):
    graph = manifest.graphs[f"unet/{variant}@16x16"]
    sites = [port.name for port in graph.outputs if port.name.endswith(".mean")]
    plain = operators(pruned(bundle, graph, ["noise"]))
    assert plain["Softmax"] == 0
    assert plain["Attention"] >= len(sites)
    tapped = operators(pruned(bundle, graph, ["noise", *sites[:2]]))
    assert tapped["Softmax"] == 2
    assert tapped["Attention"] == plain["Attention"]


def test_an_edit_costs_one_more_attention_for_each_cross_site(bundle, manifest):
    count = {
        variant: operators(pruned(bundle, manifest.graphs[f"unet/{variant}@16x16"], ["noise"]))[
            "Attention"
        ]
        for variant in ("plain", "edit", "bias")
    }
    assert count["edit"] - count["plain"] == len(manifest.info.sites.of_kind("cross"))
    assert count["bias"] == count["edit"]


def test_only_the_graph_with_biases_takes_and_adds_them(bundle, manifest):
    inputs, added = {}, {}
    for variant in ("edit", "bias"):
        graph = manifest.graphs[f"unet/{variant}@16x16"]
        inputs[variant] = {port.name for port in graph.inputs}
        found = onnx.load(bundle / graph.file, load_external_data=False).graph.node
        added[variant] = sum(n.op_type == "Attention" and len(n.input) > 3 for n in found)
    sites = manifest.info.sites.of_kind("cross")
    assert inputs["bias"] - inputs["edit"] == {bias_input(site.name) for site in sites}
    assert added == {"edit": 0, "bias": 2 * len(sites)}


def test_graphs_tell_nothing_of_the_machine(bundle):
    for file in bundle.rglob("*.onnx"):
        assert b"/site-packages/" not in file.read_bytes()
        assert b".py" not in file.read_bytes()


def test_a_folder_that_exists_is_left_alone(bundle, checkpoint):
    with pytest.raises(InvalidRequestError, match="exists"):
        write_bundle(checkpoint("tiny-vae"), bundle, runtime=RUNTIME, name="tiny", quiet=True)


def test_a_size_the_model_cannot_make_is_refused(checkpoint, tmp_path):
    with pytest.raises(InvalidRequestError, match=r"--size 30.*multiples of 8"):
        write_bundle(
            checkpoint("tiny-vae"), tmp_path / "b", runtime=RUNTIME, name="tiny", sizes=[32, 30]
        )
    assert not list(tmp_path.iterdir())


def test_a_graph_that_differs_is_refused_and_nothing_is_left(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(parity.TOLERANCES, "fp32", 1e-12)
    monkeypatch.setattr("underpaint_export.bundle.unet_specs", lambda *args: [])
    with pytest.raises(ModelLoadError, match="differs from PyTorch"):
        write_bundle(
            checkpoint("tiny-vae"), tmp_path / "b", runtime=RUNTIME, name="tiny", quiet=True
        )
    assert not list(tmp_path.iterdir())


def test_nan_is_no_parity():
    spec = GraphSpec("g", torch.nn.Identity(), {"x": torch.ones(1, 2)}, ("y",))
    record = {"name": "y", "dtype": "float32", "shape": (1, 2)}
    graph = Graph.model_validate(
        {"file": "g", "dtype": "fp32", "inputs": [record], "outputs": [record]}
    )
    broken = {"y": torch.full((1, 2), torch.nan)}
    with pytest.raises(ModelLoadError, match="differs"):
        parity.compare(spec, graph, lambda: lambda inputs: broken)
    assert parity.compare(spec, graph, lambda: lambda inputs: {"y": inputs["x"]})


class Counted(torch.nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x


def test_the_module_is_done_before_its_graph_is_opened():
    """At full size the activations of both at once are more than the machine's memory."""
    module = Counted()
    spec = GraphSpec("g", module, {"x": torch.ones(1, 2)}, ("y",))
    record = {"name": "y", "dtype": "float32", "shape": (1, 2)}
    graph = Graph.model_validate(
        {"file": "g", "dtype": "fp32", "inputs": [record], "outputs": [record]}
    )
    done = []

    def open_session():
        done.append(module.calls)
        return lambda inputs: {"y": inputs["x"]}

    records = parity.compare(spec, graph, open_session)
    assert done == [len(records)] == [2]


def test_a_manifest_of_another_format_is_refused(bundle, tmp_path):
    content = json.loads((bundle / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**content, "format": 99}))
    with pytest.raises(ModelLoadError, match="underpaint export"):
        read_manifest(tmp_path)
    with pytest.raises(ModelLoadError, match="missing"):
        read_manifest(tmp_path / "nowhere")
