"""What engines say they offer is what they do."""

import pytest
import torch
from underpaint import Needs, registry
from underpaint.commands.plugins.facts import engines_for
from underpaint.offers import Offers
from underpaint_engines.onnxruntime import OnnxRuntime
from underpaint_engines.openvino import OpenVino
from underpaint_engines.tensorrt.runtime import TensorRt

GRADIENT = Needs(gradient=frozenset({"sample"}))


def test_every_engine_says_what_it_offers():
    assert registry.find("offers").keys() == registry.find("engines").keys()
    for name in registry.find("offers"):
        assert isinstance(registry.load("offers", name), Offers)


def test_gradients_are_offered_where_the_runtime_has_them():
    openvino = OpenVino(torch.device("cpu"), torch.float32)
    assert ("fp32" in registry.load("offers", "openvino").gradients) == openvino.gradients
    assert bool(registry.load("offers", "onnxruntime").gradients) == OnnxRuntime.gradients
    assert bool(registry.load("offers", "tensorrt").gradients) == TensorRt.gradients


@pytest.mark.parametrize(
    ("needs", "missing"),
    [
        (Needs(), []),
        (Needs(edits=True), ["edits"]),
        (Needs(edits=True, cross_bias=True), ["edits", "cross_bias"]),
        (Needs(hidden_delta=True), ["hidden_delta"]),
        (GRADIENT, []),
    ],
)
def test_what_is_missing(needs, missing):
    offers = Offers(edits=False, cross_bias=False, hidden_delta=False, gradients={"fp32"})
    assert list(offers.missing(needs)) == missing
    assert list(offers.missing(GRADIENT, "bf16")) == ["gradient"]


def test_which_engines_run_a_method():
    found = {entry["engine"]: entry for entry in engines_for(GRADIENT | Needs(edits=True))}
    assert found["onnxruntime"]["runs"] == found["pytorch"]["runs"] == "yes"
    assert found["tensorrt"]["runs"] == "fallback"
    assert (found["tensorrt"]["missing"], found["tensorrt"]["fallback"]) == (
        ["gradient"],
        "pytorch",
    )
