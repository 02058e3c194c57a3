"""The shipped checkpoint: loads in diffusers, draws different pictures, repeats itself."""

import json

import numpy as np
import pytest
import torch
from underpaint_picturebook import model
from underpaint_picturebook.judge import WEIGHTS, Judge
from underpaint_picturebook.world import scene

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def pipe():
    from diffusers import StableDiffusionPipeline

    made = StableDiffusionPipeline.from_pretrained(model())
    made.set_progress_bar_config(disable=True)
    return made


def draw(pipe, prompt, seed=7, steps=12):
    generator = torch.Generator().manual_seed(seed)
    return pipe(prompt, num_inference_steps=steps, guidance_scale=4.0, generator=generator).images[
        0
    ]


def test_it_draws_what_it_is_asked_for(pipe):
    cat, boat = draw(pipe, "a big red cat on grass"), draw(pipe, "a big blue boat on the beach")
    assert cat.size == (256, 256)
    assert np.abs(np.asarray(cat, float) - np.asarray(boat, float)).mean() > 30
    seen = Judge.load()([cat, boat])
    assert "cat" in seen[0].classes
    assert "boat" in seen[1].classes
    assert (seen[0].background, seen[1].background) == ("grass", "beach")


def test_one_seed_gives_the_same_bytes(pipe):
    first, second = (draw(pipe, "a yellow bus", steps=3) for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert draw(pipe, "a yellow bus", seed=8, steps=3).tobytes() != first.tobytes()


def test_the_manifest_says_how_to_use_it():
    manifest = json.loads((model() / "underpaint.json").read_text())
    assert manifest["word_level"] == 1
    assert manifest["size"] == 256
    assert manifest["num_inference_steps"] == 25
    assert manifest["licence"] == "Apache-2.0"


def test_weights_are_small_and_safetensors():
    files = [f for folder in (model(), WEIGHTS) for f in folder.rglob("*") if f.is_file()]
    assert not [f.name for f in files if f.suffix in (".bin", ".pt", ".pkl", ".ckpt")]
    weights = [f.stat().st_size for f in files if f.suffix == ".safetensors"]
    assert max(weights) <= 12 * MEGABYTE
    assert sum(weights) <= 24 * MEGABYTE


def test_the_judge_is_right_about_fresh_renders():
    judge = Judge.load()
    fresh = [scene(60_000_000 + seed) for seed in range(100)]
    right = []
    for made, verdict in zip(fresh, judge([item.image for item in fresh]), strict=True):
        for item in made.objects:
            seen = verdict.mask(item.name)
            right.append((seen & item.mask).sum() > 0.5 * (seen | item.mask).sum())
    assert np.mean(right) >= 0.97


def test_the_judge_finds_nothing_on_an_empty_picture():
    grey = np.full((256, 256, 3), 225, dtype=np.uint8)
    verdict = Judge.load()([grey])[0]
    assert verdict.classes == ()
    assert not verdict.mask("cat").any()
    assert verdict.find("cat") is None
