from __future__ import annotations

import json
import sys
from pathlib import Path

from underpaint.commands.doctor import Finding
from underpaint.commands.machine import processor
from underpaint.hookspecs import VERSION

CPUINFO = """
processor : 0
model name : A Fine Processor
flags : fpu avx2 avx512f avx512_bf16 amx_tile
processor : 1
model name : Another
flags : fpu
"""


def test_plugins_list(cli):
    code, out, _ = cli("plugins", "list", "--json")
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert code == 0
    assert found["fake-swap"]["summary"] == "Keep the layout of another prompt's picture."
    assert found["fake-swap"]["distribution"] == "fake-methods"
    assert found["fake-swap"]["version"] == "1.2"
    assert "cannot be imported" in found["fake-broken"]["problem"]
    assert found["fake-scale"]["hooks"] == ["initial_latents"]
    assert found["fake-scale"]["schema"]["properties"]["factor"]["exclusiveMinimum"] == 0
    assert found["prompt-to-prompt"]["needs"]["edits"]
    assert found["null-text-inversion"]["needs"]["gradient"] == ["context"]  # of its tuning
    assert found["fake-swap"]["needs"] is None
    assert "source" in found["fake-swap"]["needs_problem"]
    code, out, _ = cli("plugins", "list")
    assert code == 0
    assert "Scale the noise" in out


def test_plugins_info(cli):
    _, out, _ = cli("plugins", "info", "fake-swap", "--json")
    data = json.loads(out)
    assert data["hooks"] == ["needs", "branches", "attention_edits", "after_step"]
    parameters = {entry["name"]: entry for entry in data["parameters"]}
    assert parameters["source"]["required"]
    assert parameters["reweight"]["type"] == "dict[str, float]"
    assert parameters["window"]["type"] == "Window | None"
    assert parameters["mode"]["default"] == "soft"
    assert data["origin"] == {"kind": "wheel", "path": str(Path(__file__).parent / "package")}
    assert data["hookspecs"] == VERSION
    code, out, _ = cli("plugins", "info", "fake-swap")
    assert code == 0
    assert "dict[str, float]" in out  # not taken for markup


def test_plugins_info_says_what_runs_it_and_where_it_came_from(cli):
    _, out, _ = cli("plugins", "info", "self-guidance", "--json")
    data = json.loads(out)
    plugin = Path(__file__).parents[2] / "plugins" / "self-guidance"
    assert data["origin"] == {"kind": "editable", "path": str(plugin)}
    assert data["needs"]["gradient"] == ["sample"]
    assert data["needs"]["picture"]
    assert {tap["kind"] for tap in data["needs"]["taps"]} == {"cross", "activation"}
    engines = {entry["engine"]: entry["runs"] for entry in data["engines"]}
    assert engines["pytorch"] == engines["openvino"] == "yes"
    assert engines["tensorrt"] == "fallback"
    _, out, _ = cli("plugins", "info", "self-guidance")
    assert f"From     {plugin} (editable)" in out
    assert "tensorrt (gradient on pytorch)" in out


def test_models_info(cli, model):
    _, out, _ = cli("models", "info", model, "--json")
    data = json.loads(out)
    assert data["folder"] == model
    assert data["bytes"] > 1e6
    assert (data["width"], data["height"]) == (32, 32)
    assert [entry["grid"] for entry in data["sites"]] == [[16, 16], [8, 8], [4, 4], [2, 2]]
    assert sum(entry["words"] for entry in data["sites"]) == 1
    code, out, _ = cli("models", "info", model)
    assert code == 0
    assert data["digest"] in out


def test_models_list(cli):
    code, out, _ = cli("models", "list", "--json")
    assert code == 0
    assert isinstance(json.loads(out), list)


def test_doctor_names_what_is_broken_and_what_to_do(cli):
    code, out, _ = cli("doctor", "--json")
    data = json.loads(out)
    findings = {finding["what"]: finding for finding in data["findings"]}
    assert code == 1
    assert not data["ok"]
    assert findings["torch"]["ok"]
    assert findings["engine pytorch"]["ok"]
    assert findings["method fake-swap"]["ok"]
    assert "uninstall fake-methods 1.2" in findings["method fake-broken"]["advice"]
    code, out, _ = cli("doctor")
    assert code == 1
    assert "method fake-broken" in out


def test_processor_features():
    assert processor(CPUINFO) == ("A Fine Processor", ["avx2", "avx512", "bf16", "amx"])
    assert processor("Features : asimd bf16")[1] == ["neon", "arm-bf16"]


def test_finding_without_advice_is_in_order():
    assert Finding("torch", "2").ok
    assert not Finding("torch", "none", "install it").ok


def test_doctor_takes_an_optional_engine_for_what_it_is(cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "underpaint_engines.openvino", raising=False)
    _, out, _ = cli("doctor", "--json")
    found = {each["what"]: each for each in json.loads(out)["findings"]}["engine openvino"]
    assert found["ok"]
    assert "pip install 'underpaint[openvino]'" in found["value"]
