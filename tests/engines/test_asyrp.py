"""Asyrp's second evaluation on the engines of a bundle says what it says on PyTorch."""

from __future__ import annotations

import pytest
import torch
from underpaint import Pipeline
from underpaint_asyrp import Asyrp, Attribute, AttributeFacts
from underpaint_engines import onnxruntime, openvino

KIND = "tiny-vae"
PROMPT = "a cat on the grass"


@pytest.fixture
def attribute(engine_of, tmp_path):
    """Return the file of a direction with weights that do something."""
    info = engine_of(KIND).info
    site = next(site for site in info.sites.all if site.name == "mid_block")
    facts = AttributeFacts(
        kind="conv",
        model=info.name,
        model_digest=info.digest,
        channels=site.channels,
        source=PROMPT,
        target="a dog on the grass",
        t_edit=400,
        t_boost=200,
        num_inference_steps=6,
        guidance_scale=4.0,
    )
    direction = facts.build()
    generator = torch.Generator().manual_seed(0)
    for weight in direction.parameters():
        weight.data = 0.3 * torch.randn(weight.shape, generator=generator)
    path = tmp_path / "dog.safetensors"
    Attribute(facts, direction).save(path)
    return str(path)


@pytest.mark.parametrize("load", [onnxruntime.load, openvino.load], ids=["onnxruntime", "openvino"])
@pytest.mark.parametrize("halves", ["cond", "both"])
def test_its_latents_are_those_of_pytorch(engine_of, bundle_of, attribute, load, halves):
    call = {"num_inference_steps": 6, "guidance_scale": 4.0, "seed": 3, "output_type": "latent"}
    edit = Asyrp(attributes={attribute: 1.0}, halves=halves)
    compiled = Pipeline(load(bundle_of(KIND), name=KIND))
    expected = Pipeline(engine_of(KIND))(PROMPT, edits=[edit], **call).latents
    got = compiled(PROMPT, edits=[edit], **call).latents
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=0)
    assert (compiled(PROMPT, **call).latents - expected).abs().max() > 1e-2


@pytest.mark.parametrize("load", [onnxruntime.load, openvino.load], ids=["onnxruntime", "openvino"])
def test_a_real_pictures_latents_are_those_of_pytorch(engine_of, bundle_of, attribute, load):
    """The same path for all, so that the edit alone is compared."""
    picture = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(1))
    pytorch, compiled = Pipeline(engine_of(KIND)), Pipeline(load(bundle_of(KIND), name=KIND))
    path = pytorch.invert(picture, PROMPT, num_inference_steps=6, cache=False)
    call = {"num_inference_steps": 6, "trajectory": path, "seed": 3, "output_type": "latent"}
    edit = Asyrp(attributes={attribute: 1.0})
    expected = pytorch(PROMPT, edits=[edit], **call).latents
    got = compiled(PROMPT, edits=[edit], **call).latents
    torch.testing.assert_close(got, expected, atol=1e-3, rtol=0)
    assert (compiled(PROMPT, **call).latents - expected).abs().max() > 1e-2
