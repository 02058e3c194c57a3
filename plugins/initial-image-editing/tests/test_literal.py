"""Whole layouts against the literal reference, on a real UNet with random weights."""

from __future__ import annotations

import pytest
import torch
from literal_layout import LENGTH, Model, swap_by_threshold
from underpaint import Pipeline
from underpaint_engines.pytorch import load
from underpaint_initial_image_editing import LayoutToImage

STEPS, GUIDANCE, SEED = 4, 5.0, 3
PROMPT = "a cat and a catalogue on the grass"

# The tiny model's 16x16 latents have 4x4 places at the word level.
BOX, CELLS = (0.5, 0.25, 1.0, 0.75), [6, 7, 10, 11]
DOWN = "down_blocks.2.attentions.0.transformer_blocks.0.attn2"

# <bos> a cat a|n|d a cat|a|lo|g|ue on the gr|as|s ...: the tokens of two words.
WORDS = {"cat": [2], "catalogue": [7, 8, 9, 10, 11]}


def covered(side):
    """The box by hand: the right half, from a quarter to three quarters down, in a site's grid."""
    mask = torch.zeros(side, side)
    if side == 2:
        mask[:, 1] = 0.5
    else:
        mask[side // 4 : 3 * side // 4, side // 2 :] = 1
    return mask.flatten()


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("strength", [0.0, 3.0])
def test_a_layout_equals_the_literal_one(word, strength, checkpoint):
    folder = checkpoint("sd1")
    model = Model(folder, STEPS)
    tokens = WORDS[word]
    noise = torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(SEED))
    map_ = model.probe(noise, PROMPT, tokens, DOWN)
    swapped = swap_by_threshold(noise, map_, CELLS, side=4)
    assert not torch.equal(swapped, noise)

    def bias(name, t):
        places = model.cross[name].map.shape[0]
        added = torch.zeros(places, LENGTH)
        added[:, tokens] = strength * ((t + 1) / 1000) * covered(int(places**0.5))[:, None]
        return added

    expected = model.sample(swapped, PROMPT, GUIDANCE, bias)

    pipe = Pipeline(load(folder, name="sd1"))
    edit = LayoutToImage(boxes={word: BOX}, pairing="index", bias=strength)
    call = {
        "seed": SEED,
        "guidance_scale": GUIDANCE,
        "num_inference_steps": STEPS,
        "output_type": "latent",
    }
    result = pipe(PROMPT, edits=[edit], **call)
    read = result.reports["layout.maps"][0][word]
    torch.testing.assert_close(read, map_, atol=1e-5, rtol=0)
    torch.testing.assert_close(result.latents[0], expected, atol=1e-4, rtol=0)
    assert (pipe(PROMPT, **call).latents[0] - expected).abs().max() > 1e-2
