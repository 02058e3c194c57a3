"""Whole edits against the literal reference, on a real UNet with random weights."""

from __future__ import annotations

import pytest
import torch
from literal_p2p import Literal, run
from underpaint_prompt_to_prompt import LocalBlend, PromptToPrompt

TOLERANCE = 1e-4
STEPS = 10
CAT, DOG = "a cat on the grass", "a dog on the grass"
LONG = "a catalogue on the grass"  # four tokens for one
RED, MORE = "a red cat on the grass", "the cat and a dog on the red grass by day"

# name: (targets, parameters of PromptToPrompt, the same for the literal reference)
CASES = {
    "replace": ([DOG], {}, {"kind": "replace"}),
    "replace, other token counts": ([LONG], {}, {"kind": "replace"}),
    "replace twice": (["a dog on the catalogue"], {}, {"kind": "replace"}),
    "refine": ([RED], {}, {"kind": "refine"}),
    "refine, much longer": ([MORE], {}, {"kind": "refine"}),
    "refine, shorter": (["a cat"], {}, {"kind": "refine"}),
    "refine by hand": ([LONG], {"edit": "refine"}, {"kind": "refine"}),
    "reweight": (
        [CAT],
        {"reweight": {"cat": -1.5, "grass": 3.0}},
        {"kind": "reweight", "weights": {"cat": -1.5, "grass": 3.0}},
    ),
    "replace and reweight": (
        [LONG],
        {"reweight": {"catalogue": 2.0}},
        {"kind": "replace", "weights": {"catalogue": 2.0}},
    ),
    "refine and reweight": (
        [RED],
        {"reweight": {"red": 4.0}},
        {"kind": "refine", "weights": {"red": 4.0}},
    ),
    "windows by word": (
        [LONG],
        {"cross_replace": {"default_": 1.0, "catalogue": (0.1, 0.4), "grass": 0.5}},
        {
            "kind": "replace",
            "cross": {"": (0.0, 1.0), "catalogue": (0.1, 0.4), "grass": (0.0, 0.5)},
        },
    ),
    "windows by word, no default": (
        [RED],
        {"cross_replace": {"red": (0.3, 0.6)}, "self_replace": (0.2, 0.5)},
        {"kind": "refine", "cross": {"red": (0.3, 0.6)}, "self_window": (0.2, 0.5)},
    ),
    "self alone": (
        [DOG],
        {"cross_replace": 0.0, "self_replace": 1.0},
        {"kind": "replace", "cross": {"": (0.0, 0.0)}, "self_window": (0.0, 1.0)},
    ),
    "self at every level": (
        [DOG],
        {"self_levels": (0, 1, 2, 3)},
        {"kind": "replace", "self_side": 16},
    ),
    "blend": (
        [DOG],
        {"blend": LocalBlend(words=("dog",), source_words=("cat",), start=0.0, threshold=0.7)},
        {
            "kind": "replace",
            "blend_words": [["cat"], ["dog"]],
            "blend_start": 0.0,
            "blend_threshold": 0.7,
        },
    ),
    "blend by the changed words": (
        [RED],
        {"blend": LocalBlend(start=0.4, threshold=0.85)},
        {
            "kind": "refine",
            "blend_words": [[], ["red"]],
            "blend_start": 0.4,
            "blend_threshold": 0.85,
        },
    ),
    "blend and subtract": (
        [LONG],
        {
            "blend": LocalBlend(threshold=0.5, subtract=("grass",), subtract_threshold=0.95),
            "reweight": {"catalogue": 2.0},
        },
        {
            "kind": "replace",
            "weights": {"catalogue": 2.0},
            "blend_words": [["cat"], ["catalogue"]],
            "blend_threshold": 0.5,
            "subtract_words": [["grass"], ["grass"]],
            "subtract_threshold": 0.95,
        },
    ),
    "several targets": (
        [DOG, LONG, "a red on the grass"],
        {"reweight": {"dog": 2.0}, "blend": LocalBlend(threshold=0.6)},
        {
            "kind": "replace",
            "weights": {"dog": 2.0},
            "blend_words": [["cat"], ["dog"], ["catalogue"], ["red"]],
            "blend_threshold": 0.6,
        },
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_equals_the_literal_reference(case, checkpoint, pipeline):
    targets, ours, literal = CASES[case]
    noise = torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(5))
    spec = Literal([CAT, *targets], steps=STEPS, **literal)
    expected, editor = run(checkpoint("sd1"), spec, noise)

    call = {"seed": 5, "num_inference_steps": STEPS, "output_type": "latent"}
    result = pipeline("sd1")(targets, edits=[PromptToPrompt(source=CAT, **ours)], **call)

    plain = pipeline("sd1")([CAT, *targets], **call).latents
    assert (plain[1:] - expected[1:]).abs().amax((1, 2, 3)).min() > 1e-2  # the edit edits
    torch.testing.assert_close(expected[0], plain[0], atol=TOLERANCE, rtol=0)
    for image in range(len(targets)):
        source = result.branches["source"][image]
        torch.testing.assert_close(source, expected[0], atol=TOLERANCE, rtol=0)
    torch.testing.assert_close(result.latents, expected[1:], atol=TOLERANCE, rtol=0)
    if editor.mask is not None:
        reported = torch.stack(result.reports["prompt-to-prompt.mask"])
        assert torch.equal(reported, editor.mask[1:])
        assert 0 < reported.float().mean() < 1  # a mask that keeps something and frees something


@pytest.mark.parametrize("edit", ["replace", "refine", "reweight"])
def test_v_prediction(edit, checkpoint, pipeline):
    target = {"replace": LONG, "refine": RED, "reweight": CAT}[edit]
    word = {"replace": "catalogue", "refine": "red", "reweight": "cat"}[edit]
    noise = torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(3))
    spec = Literal(
        [CAT, target],
        edit,
        steps=STEPS,
        guidance=5.0,
        weights={word: 2.0},
        self_side=8,
        blend_side=8,
        blend_words=[["cat"], [word]],
        prediction="v_prediction",
    )
    expected, _ = run(checkpoint("sd2"), spec, noise)
    method = PromptToPrompt(
        source=CAT, reweight={word: 2.0}, blend=LocalBlend(words=(word,), source_words=("cat",))
    )
    result = pipeline("sd2")(
        target,
        edits=[method],
        seed=3,
        guidance_scale=5.0,
        num_inference_steps=STEPS,
        output_type="latent",
    )
    torch.testing.assert_close(result.latents[0], expected[1], atol=TOLERANCE, rtol=0)
