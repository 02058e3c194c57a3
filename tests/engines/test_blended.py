"""Blended Latent Diffusion on the engines of a bundle says what it says on PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from underpaint import Pipeline
from underpaint_blended_latent_diffusion import BlendedLatentDiffusion
from underpaint_engines.bundle import read_manifest
from underpaint_engines.compiled import CompiledEngine
from underpaint_engines.fallback import Fallback
from underpaint_engines.onnxruntime import OnnxRuntime
from underpaint_engines.openvino import OpenVino

KIND = "tiny-vae"
BOX = (0.1, 0.2, 0.6, 0.9)
EDITS = {
    "fresh noise": BlendedLatentDiffusion(box=BOX),
    "shrinking, from halfway": BlendedLatentDiffusion(box=BOX, shrink=2, strength=0.5),
    "along the path": BlendedLatentDiffusion(box=BOX, noise_mode="inverted"),
    "latents": BlendedLatentDiffusion(box=BOX, preserve="latents", reconstruction_steps=3),
    "decoder": BlendedLatentDiffusion(box=BOX, preserve="decoder", reconstruction_steps=3),
}


@pytest.fixture
def picture(engine_of):
    height, width = (8 * side for side in engine_of(KIND).info.latent_size)
    values = np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


@pytest.fixture(scope="module", params=[OnnxRuntime, OpenVino])
def compiled(request, bundle_of, checkpoint):
    """Return a compiled pipeline that can fall back on the checkpoint for the decoder's weights."""
    runtime = request.param(torch.device("cpu"), torch.float32)
    fallback = Fallback(checkpoint(KIND), KIND, runtime.dtype, runtime.device)
    folder = bundle_of(KIND)
    return Pipeline(CompiledEngine(folder, read_manifest(folder), KIND, runtime, fallback))


@pytest.mark.parametrize("name", EDITS)
def test_its_pictures_are_those_of_pytorch(compiled, engine_of, picture, name):
    call = {"image": picture, "guidance_scale": 2.0, "seed": 5, "output_type": "pt"}
    call["num_inference_steps"] = 4
    edit = EDITS[name]
    got = compiled("a dog on grass", edits=[edit], **call)
    expected = Pipeline(engine_of(KIND))("a dog on grass", edits=[edit], **call)
    assert not got.warnings
    assert got.recipe["engine"] != expected.recipe["engine"]
    torch.testing.assert_close(got.latents, expected.latents, atol=1e-3, rtol=0)
    torch.testing.assert_close(got.images, expected.images, atol=1e-3, rtol=0)
    moved = compiled("a cat on grass", edits=[edit], **call)
    assert (moved.images[0] - expected.images[0]).abs().max() > 1e-2
