"""Two plugins in one run: both act, and where they cannot, the error names both."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from underpaint import Pipeline
from underpaint.errors import ConflictError
from underpaint_asyrp import Asyrp
from underpaint_blended_latent_diffusion import BlendedLatentDiffusion
from underpaint_initial_image_editing import LayoutToImage
from underpaint_picturebook.judge import Judge
from underpaint_picturebook.train.data import FIRST_TEST_SEED
from underpaint_picturebook.world import scene
from underpaint_pix2pix_zero import Pix2PixZero
from underpaint_prompt_to_prompt import PromptToPrompt

SOURCE, TARGET = "a cat on grass", "a dog on grass"
STEPS = 6
BOX = (0.25, 0.375, 0.75, 0.875)  # whole cells of the latent
P2P = PromptToPrompt(source=SOURCE)


@pytest.fixture(scope="module")
def pipe():
    return Pipeline.from_pretrained("picturebook")


@pytest.fixture(scope="module")
def picture():
    return scene(FIRST_TEST_SEED).image


@pytest.fixture(scope="module")
def edit(pipe, picture):
    def run(*edits, prompt=TARGET, image=picture):
        call = {"num_inference_steps": STEPS, "seed": 1}
        return np.asarray(pipe(prompt, image=image, edits=edits, **call).images[0])

    return run


def outside(pixels):
    """Return the pixels outside of `BOX`, 0 elsewhere."""
    left, top, right, bottom = (round(side * pixels.shape[0]) for side in BOX)
    kept = pixels.copy()
    kept[top:bottom, left:right] = 0
    return kept


@pytest.mark.parametrize("beside", [P2P, Asyrp(attributes={"night": 1.0})], ids=["p2p", "asyrp"])
def test_beside_blended_both_act_and_the_background_is_the_pictures(edit, picture, beside):
    blended = BlendedLatentDiffusion(box=BOX, noise_mode="inverted")
    both, alone, other = edit(beside, blended), edit(blended), edit(beside)
    assert (outside(both) == outside(np.asarray(picture))).all()
    assert (outside(other) != outside(np.asarray(picture))).any()
    for one in (alone, other, np.asarray(picture)):
        assert np.abs(both.astype(float) - one).max() > 16


def test_local_blend_keeps_the_picture_beside_another_methods_change(pipe, picture):
    swap = Pix2PixZero(source_word="cat", target_word="dog", attention_guidance=0)
    words = {"words": ("cat",), "source_words": ("cat",)}
    blend = PromptToPrompt(source=SOURCE, cross_replace=0, self_replace=0, blend=words)
    path = pipe.invert(picture, SOURCE, num_inference_steps=STEPS)
    call = {"trajectory": path, "follow": True, "num_inference_steps": STEPS}
    alone, both = (pipe(SOURCE, edits=edits, **call) for edits in ([swap], [swap, blend]))
    kept = path.pivots[-1, 0]
    mask = both.reports["prompt-to-prompt.mask"][0].expand_as(kept)
    assert 0 < mask.float().mean() < 0.5
    assert torch.equal(both.latents[0][~mask], kept[~mask])
    assert (alone.latents[0] - kept)[~mask].abs().max() > 0.1
    assert (both.latents[0] - kept)[mask].abs().max() > 0.1


def test_a_picture_edited_twenty_times_keeps_its_background_to_the_bit(edit, picture):
    blended = BlendedLatentDiffusion(box=BOX, strength=0.3)
    edited = [picture]
    for turn in range(20):
        edited.append(edit(blended, prompt=(SOURCE, TARGET)[turn % 2], image=edited[-1]))
    pixels = [np.asarray(each) for each in edited]
    assert all((outside(each) == outside(pixels[0])).all() for each in pixels)
    assert all((each != before).any() for before, each in pairwise(pixels))


def test_layouts_bias_moves_what_prompt_to_prompt_draws(pipe):
    def centre(box):
        layout = LayoutToImage(boxes={"dog": box}, swap=False, bias=20)
        result = pipe(TARGET, edits=[layout, P2P], num_inference_steps=10, seed=5)
        return Judge.load()(result.images)[0].find("dog").centre[0]

    left, right = (0.0, 0.3, 0.45, 0.85), (0.55, 0.3, 1.0, 0.85)
    assert centre(right) - centre(left) > 40  # of 256 pixels


def test_a_layouts_swap_moves_the_source_too(pipe):
    layout = LayoutToImage(boxes={"dog": (0.0, 0.3, 0.45, 0.85)})
    call = {"num_inference_steps": 2, "seed": 5, "output_type": "latent"}
    swapped = pipe(TARGET, edits=[layout, P2P], **call)
    plain = pipe(TARGET, edits=[P2P], **call)
    for name in ("source", "main"):
        own, other = (
            r.latents if name == "main" else torch.stack(list(r.branches[name]))
            for r in (swapped, plain)
        )
        assert (own - other).abs().max() > 0.1


@pytest.mark.parametrize(
    ("edits", "named"),
    [
        ([P2P, PromptToPrompt(source="a bird on grass")], "a branch named 'source'"),
        ([LayoutToImage(boxes={word: BOX}, bias=5) for word in ("dog", "grass")], "cross_bias"),
    ],
    ids=["branch", "bias"],
)
def test_two_writers_of_one_thing_are_named(pipe, edits, named):
    first, second = (f"{edits[0].method}{number}" for number in ("", "#2"))
    with pytest.raises(ConflictError, match=f"(?s){first}.*{second}.*{named}"):
        pipe(TARGET, edits=edits, num_inference_steps=2, seed=1)
