"""Whole edits of the embedded model are the same on every engine."""

from __future__ import annotations

from functools import cache

import numpy as np
import openvino as ov
import pytest
import torch
from underpaint import Pipeline
from underpaint_diffuse_it import DiffuseIt
from underpaint_engines import openvino
from underpaint_every_object import EveryObject
from underpaint_null_text_inversion import NullTextInversion
from underpaint_picturebook.train.data import FIRST_TEST_SEED
from underpaint_picturebook.train.vae import psnr
from underpaint_picturebook.world import scene
from underpaint_pix2pix_zero import Pix2PixZero
from underpaint_prompt_to_prompt import LocalBlend, PromptToPrompt
from underpaint_self_guidance import SelfGuidance, move

STEPS, SEED = 10, 8
EDITS = {
    "a dog on grass": {},
    "a red cat on grass": {"blend": LocalBlend()},
    "a cat on grass": {"reweight": {"grass": 2.0}},
}
# The methods that go down a gradient: prompt, edits, whether of a real picture, and a tolerance.
# Where a method limits its steps, numbers at the limit turn one way or the other on a rounding.
GUIDED = {
    "self-guidance": ("a cat on grass", [SelfGuidance(move("cat", right=0.2))], False, 5e-3),
    "every-object": ("a cat and a dog", [EveryObject(objects=("cat", "dog"))], False, 1e-3),
    "pix2pix-zero": (
        "a cat on grass", [Pix2PixZero(source_word="cat", target_word="dog")], True, 1e-3
    ),
    "null-text": (
        "a dog on grass",
        [PromptToPrompt(source="a cat on grass"), NullTextInversion(inner_steps=2)],
        True,
        1e-3,
    ),
    "diffuse-it": ("a dog on grass", [DiffuseIt(source="a cat on grass")], True, 3e-2),
}  # fmt: skip


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


@pytest.mark.parametrize("method", GUIDED)
def test_gradients_compiled_give_the_latents_of_pytorch(pipeline, method):
    prompt, edits, real, tolerance = GUIDED[method]
    call = {"num_inference_steps": 4, "seed": SEED, "output_type": "latent"}
    if real:
        call |= {"image": scene(FIRST_TEST_SEED).image, "follow": False}
    expected, got = (
        pipeline(engine)(prompt, edits=edits, **call) for engine in ("pytorch", "onnxruntime")
    )
    assert got.warnings == ()  # nothing fell back
    torch.testing.assert_close(got.latents, expected.latents, atol=tolerance, rtol=0)
    plain = pipeline("pytorch")(prompt, seed=SEED, num_inference_steps=4, output_type="latent")
    assert (expected.latents - plain.latents).abs().max() > 10 * tolerance


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
