"""What a compiled engine does not offer runs on PyTorch, and the result says so."""

from __future__ import annotations

import pytest
import torch
from underpaint import AttentionEdit, Guidance, Needs, Pipeline, hookimpl
from underpaint.errors import NotOfferedError
from underpaint_engines import onnxruntime, pytorch
from underpaint_engines.bundle import read_manifest
from underpaint_engines.compiled import CompiledEngine
from underpaint_engines.fallback import Fallback
from underpaint_engines.onnxruntime import OnnxRuntime

KIND = "tiny-vae"
CALL = {"num_inference_steps": 2, "seed": 5, "output_type": "latent"}


class Brighter:
    """Guides every step towards a greater latent."""

    @hookimpl
    def needs(self, request):
        return Needs(gradient=frozenset({"sample"}))

    @hookimpl
    def guidance(self, step):
        return [Guidance(lambda seen: -seen.x0.mean((1, 2, 3)), 0.5, "noise")]


class Biased:
    """Turns every picture cell away from the second token."""

    @hookimpl
    def needs(self, request):
        return Needs(edits=True, cross_bias=True)

    @hookimpl
    def attention_edits(self, step):
        site = step.run.request.model.sites.of_kind("cross")[0]
        bias = torch.zeros(256, 77)
        bias[:, 1] = -10
        return [AttentionEdit("main", "main", cross_bias={site.name: bias})]


@pytest.fixture
def pipes(bundle_of, checkpoint):
    """Return a compiled pipeline that can fall back, and the one it falls back to."""
    folder, source = bundle_of(KIND), checkpoint(KIND)
    runtime = OnnxRuntime(torch.device("cpu"), torch.float32)
    fallback = Fallback(source, KIND, runtime.dtype, runtime.device)
    compiled = CompiledEngine(folder, read_manifest(folder), KIND, runtime, fallback)
    return Pipeline(compiled), Pipeline(pytorch.load(source, name=KIND))


def test_a_run_with_gradients_on_a_runtime_without(pipes, make_method, monkeypatch):
    monkeypatch.setattr(OnnxRuntime, "gradients", False)
    compiled, reference = pipes
    got = compiled("a cat", edits=[make_method(Brighter)], **CALL)
    expected = reference("a cat", edits=[make_method(Brighter)], **CALL)
    assert torch.equal(got.latents, expected.latents)
    assert got.recipe["engine"] == "pytorch"
    (warning,) = got.warnings
    assert "no gradients" in warning
    assert warning.endswith("ran on the pytorch engine instead.")
    assert not expected.warnings


def test_a_size_that_was_not_exported(pipes):
    compiled, reference = pipes
    got = compiled("a cat", height=48, width=32, **CALL)
    assert torch.equal(got.latents, reference("a cat", height=48, width=32, **CALL).latents)
    assert "no graph unet/plain@24x16" in got.warnings[0]


def test_what_is_offered_does_not_fall_back(pipes, make_method, monkeypatch):
    compiled, reference = pipes
    monkeypatch.setattr(Fallback, "__call__", lambda self: pytest.fail("fell back"))
    latents = []
    for edits in ([], [make_method(Biased)]):
        got = compiled("a cat", edits=edits, **CALL)
        assert got.recipe["engine"] == "onnxruntime"
        assert not got.warnings
        expected = reference("a cat", edits=edits, **CALL).latents
        torch.testing.assert_close(got.latents, expected, atol=1e-3, rtol=0)
        latents.append(got.latents)
    assert (latents[1] - latents[0]).abs().max() > 1e-2


def test_the_other_engine_is_loaded_once(pipes):
    engine = pipes[0].engine
    assert engine.fallback() is engine.fallback()


def test_a_bundle_alone_raises(bundle_of, make_method, monkeypatch):
    monkeypatch.setattr(OnnxRuntime, "gradients", False)
    pipe = Pipeline(onnxruntime.load(bundle_of(KIND), name=KIND))
    with pytest.raises(NotOfferedError, match="engine='pytorch'"):
        pipe("a cat", edits=[make_method(Brighter)], **CALL)
    with pytest.raises(NotOfferedError, match="underpaint export MODEL --size"):
        pipe("a cat", height=48, width=32, **CALL)


def test_a_recipe_replayed_elsewhere_says_so(pipes):
    compiled, reference = pipes
    recipe = reference("a cat", **CALL).recipe
    assert not reference.replay(recipe, output_type="latent").warnings
    (warning,) = compiled.replay(recipe, output_type="latent").warnings
    assert "made on pytorch in fp32, this ran on onnxruntime in fp32" in warning


def test_a_decoder_to_optimise_comes_from_the_checkpoint(pipes):
    compiled, reference = pipes
    latents = torch.randn(1, compiled.engine.info.latent_channels, 8, 8)
    images = compiled.engine.decoder()(latents)
    assert torch.equal(images, reference.engine.decoder()(latents))


def test_without_the_checkpoint_there_is_no_decoder_to_optimise(bundle_of):
    engine = onnxruntime.load(bundle_of(KIND), name=KIND)
    with pytest.raises(NotOfferedError, match=r"weights can be optimised.*engine='pytorch'"):
        engine.decoder()
