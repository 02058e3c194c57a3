"""Whole edits of the embedded model are the same on every engine."""

from __future__ import annotations

from functools import cache

import numpy as np
import openvino as ov
import pytest
import torch
from underpaint import Pipeline
from underpaint_engines import openvino
from underpaint_picturebook.train.data import FIRST_TEST_SEED
from underpaint_picturebook.train.vae import psnr
from underpaint_picturebook.world import scene
from underpaint_prompt_to_prompt import LocalBlend, PromptToPrompt

STEPS, SEED = 10, 8
EDITS = {
    "a dog on grass": {},
    "a red cat on grass": {"blend": LocalBlend()},
    "a cat on grass": {"reweight": {"grass": 2.0}},
}


@pytest.fixture(scope="module")
def pipeline(picturebook_bundle):
    """Return a pipeline by engine; OpenVINO opens the graphs that ONNX Runtime's first use made."""

    @cache
    def open_(name):
        if name == "openvino":
            return Pipeline(openvino.load(picturebook_bundle, name="picturebook"))
        dtype = torch.bfloat16 if name == "openvino bf16" else torch.float32
        return Pipeline.from_pretrained("picturebook", engine=name.split()[0], dtype=dtype)

    return open_


def edited(pipe, target, output_type):
    edit = PromptToPrompt(source="a cat on grass", **EDITS[target])
    call = {"num_inference_steps": STEPS, "seed": SEED, "output_type": output_type}
    return pipe(target, edits=[edit], **call)


@pytest.mark.parametrize("target", EDITS)
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_latents_are_those_of_pytorch(pipeline, name, target):
    got = edited(pipeline(name), target, "latent")
    expected = edited(pipeline("pytorch"), target, "latent")
    torch.testing.assert_close(got.latents, expected.latents, atol=1e-3, rtol=0)
    source = expected.branches["source"][0]
    assert (expected.latents - source).abs().max() > 0.02  # far above the tolerance
    assert got.recipe["engine"] == name


@pytest.mark.parametrize("follow", [True, False])
@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_real_picture_is_inverted_and_edited_as_in_pytorch(pipeline, name, follow):
    picture = scene(FIRST_TEST_SEED).image
    expected, got = (
        pipeline(engine)(
            "a dog on grass",
            image=picture,
            edits=[PromptToPrompt(source="a cat on grass")],
            follow=follow,
            num_inference_steps=STEPS,
            output_type="latent",
        )
        for engine in ("pytorch", name)
    )
    assert got.warnings == ()
    torch.testing.assert_close(got.trajectory.pivots, expected.trajectory.pivots, atol=1e-3, rtol=0)
    torch.testing.assert_close(got.latents, expected.latents, atol=1e-3, rtol=0)


@pytest.mark.skipif(
    "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"),
    reason="this processor has no bf16",
)
@pytest.mark.parametrize("target", EDITS)
def test_bf16_is_within_30_db(pipeline, target):
    got = np.asarray(edited(pipeline("openvino bf16"), target, "pil").images[0])
    expected = np.asarray(edited(pipeline("pytorch"), target, "pil").images[0])
    assert psnr(got[None], expected[None]) >= 30
    assert (got != expected).any()
