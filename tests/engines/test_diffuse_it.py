"""DiffuseIT on ONNX Runtime: the cheap gradient spares the UNet, the full one goes through it."""

from __future__ import annotations

import shutil

import pytest
import torch
from underpaint import Pipeline
from underpaint.testing import greatest_difference
from underpaint_diffuse_it import DiffuseIt
from underpaint_engines import pytorch
from underpaint_engines.bundle import read_manifest
from underpaint_engines.compiled import CompiledEngine
from underpaint_engines.fallback import Fallback
from underpaint_engines.onnxruntime import OnnxRuntime

from tests.tiny_checkpoints import save_tiny_clip

KIND = "tiny-vae"
CALL = {"num_inference_steps": 5, "seed": 5, "output_type": "pt", "record_attention": False}


@pytest.fixture(scope="module")
def pipes(bundle_of, checkpoint, tmp_path_factory):
    """Return a pipeline on ONNX Runtime and one on PyTorch, both with the same random CLIP."""
    source = shutil.copytree(checkpoint(KIND), tmp_path_factory.mktemp("m") / "model")
    save_tiny_clip(source)
    folder = bundle_of(KIND)
    runtime = OnnxRuntime(torch.device("cpu"), torch.float32)
    fallback = Fallback(source, KIND, runtime.dtype, runtime.device)
    compiled = CompiledEngine(folder, read_manifest(folder), KIND, runtime, fallback)
    return Pipeline(compiled), Pipeline(pytorch.load(source, name=KIND))


def translate(pipe, edit):
    height, width = (side * pipe.engine.info.vae_factor for side in pipe.engine.info.latent_size)
    picture = torch.rand(3, height, width, generator=torch.Generator().manual_seed(2))
    return pipe("a red cat", image=picture, edits=[edit], **CALL)


def test_the_cheap_gradient_keeps_the_unet_on_the_engine(pipes, monkeypatch):
    compiled, reference = pipes
    edit = DiffuseIt(gradient="cheap", repeats=2, scale=300)
    expected = translate(reference, edit)
    calls, predict = [], CompiledEngine.predict
    monkeypatch.setattr(
        CompiledEngine, "predict", lambda self, c: calls.append(c) or predict(self, c)
    )
    for name in ("predict", "linearize"):
        monkeypatch.setattr(pytorch.PyTorchEngine, name, lambda *_: pytest.fail("left the engine"))
    got = translate(compiled, edit)
    assert got.recipe["engine"] == "onnxruntime"
    assert not got.warnings
    assert len(calls) == 4  # three levels, the first one twice
    assert greatest_difference(got.images, expected.images) < 1e-3
    plain = translate(compiled, DiffuseIt(scale=0, repeats=2))
    assert greatest_difference(got.images, plain.images) > 1e-2


def test_the_full_gradient_gives_the_same_on_both(pipes):
    compiled, reference = pipes
    edit = DiffuseIt(gradient="full", scale=300)
    got, expected = translate(compiled, edit), translate(reference, edit)
    assert greatest_difference(got.images, expected.images) < 1e-3
    assert got.recipe["engine"] == "onnxruntime"
    assert not got.warnings
