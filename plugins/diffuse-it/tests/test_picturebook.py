"""On picturebook: other ViTs and CLIPs, generated pictures, commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTModel
from underpaint import Pipeline, registry
from underpaint.cli import main
from underpaint.testing import greatest_difference
from underpaint_diffuse_it import DiffuseIt

CALL = {"seed": 3, "num_inference_steps": 4, "output_type": "pt", "record_attention": False}
PROMPT = "a watercolour of a red cat"


def model():
    return Path(registry.locate_model("picturebook")[1])


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """Return a photo's size and colours, in a file."""
    coarse = np.random.default_rng(0).integers(0, 255, (6, 9, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp("pictures") / "photo.png"
    Image.fromarray(coarse).resize((360, 240), Image.Resampling.BICUBIC).save(path)
    return path


@pytest.fixture(scope="module")
def pipe():
    return Pipeline.from_pretrained("picturebook")


def test_another_vit_and_another_clip_give_another_image(pipe, picture, tmp_path):
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        initializer_range=0.3,
    )
    dino, clip = tmp_path / "dino", tmp_path / "clip"
    ViTModel(config, add_pooling_layer=False).save_pretrained(dino)
    for part in ("clip", "tokenizer"):
        shutil.copytree(model() / part, clip, dirs_exist_ok=True)
    edits = [DiffuseIt(gradient="cheap", **given) for given in ({}, {"clip": clip}, {"vit": dino})]
    own, same, other = (pipe(PROMPT, image=picture, edits=[e], **CALL).images for e in edits)
    assert greatest_difference(own, same) < 1e-4  # the checkpoint's CLIP, from another folder
    assert greatest_difference(own, other) > 0.02


@pytest.mark.parametrize("kind", ["cheap", "full"])
def test_a_style_picture_on_the_command_line(picture, tmp_path, capsys, kind):
    out = tmp_path / "out"
    flags = ["--image", str(picture), "--prompt", PROMPT, "--steps", "4", "--seed", "3"]
    own = ["--gradient", kind, "--style-image", str(picture), "--source", "a cat"]
    assert main(["edit", "diffuse-it", *flags, *own, "--sheet", "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["recipe"]["edits"][0]["gradient"] == kind
    assert Image.open(out / "edit.png").size == (256, 256)


def test_the_tensor_of_a_generated_picture(pipe):
    made = pipe("a red cat on grass", **CALL).images[0]
    result = pipe(PROMPT, image=made, edits=[DiffuseIt(gradient="cheap")], **CALL)
    assert torch.isfinite(result.images[0]).all()
    assert greatest_difference(result.images, [made]) > 0.05
