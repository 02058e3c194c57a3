"""Prompt-to-Prompt as a user meets it, on the engine without weights."""

from __future__ import annotations

import json
import math

import pytest
import torch
from underpaint import Pipeline
from underpaint.errors import InvalidRequestError, UnknownSiteError, UnknownWordError
from underpaint.testing import (
    ToyEngine,
    assert_identity_at_zero_strength,
    check_plugin,
    greatest_difference,
)
from underpaint_prompt_to_prompt import LocalBlend, PromptToPrompt

SOURCE, TARGET = "a cat on green grass", "a dog on green grass"
STEPS = 10

EDITS = {
    "replace": PromptToPrompt(source=SOURCE),
    "replace, cross alone": PromptToPrompt(source=SOURCE, self_replace=0.0),
    "self alone": PromptToPrompt(source=SOURCE, cross_replace=0.0, self_replace=1.0),
    "refine": PromptToPrompt(source="a dog on grass"),
    "reweight": PromptToPrompt(source=TARGET, reweight={"dog": 3}, cross_replace=1.0),
    "by word": PromptToPrompt(source=SOURCE, cross_replace={"default_": 1, "dog": (0.1, 0.4)}),
    "blend": PromptToPrompt(source=SOURCE, blend=LocalBlend(threshold=0.8)),
    "quirks": PromptToPrompt(source="a catalogue on green grass", official_quirks=True),
}


@pytest.fixture(params=EDITS)
def method(request):
    return EDITS[request.param]


def test_every_edit_keeps_the_rules_of_plugins_and_changes_something(method):
    report = check_plugin(method, prompt=TARGET, num_inference_steps=STEPS)
    assert report.branches == ("source",)
    assert report.change > 1e-4  # rounding is below 1e-5


def test_every_edit_differs_from_every_other(edit_session):
    images = {
        name: edit_session(method, prompt=TARGET, num_inference_steps=STEPS).images
        for name, method in EDITS.items()
    }
    names = list(images)
    for k, name in enumerate(names):
        for other in names[:k]:
            assert greatest_difference(images[name], images[other]) > 1e-4, (name, other)


def test_the_source_branch_is_the_plain_generation(method, edit_session):
    edited = edit_session(method, prompt=TARGET)
    plain = edit_session(prompt=method.source)
    assert greatest_difference(edited.branches["source"], plain.images) < 1e-4


@pytest.mark.parametrize("prompt", [TARGET, "a dog", "a cat and a big dog on green grass"])
def test_zero_strength_is_no_edit(prompt):
    off = PromptToPrompt(source=SOURCE, cross_replace=0, self_replace=0)
    assert_identity_at_zero_strength(off, prompt=prompt)


def test_a_blend_of_everything_is_no_blend_and_of_nothing_is_the_source(edit_session):
    with_blend = {
        threshold: edit_session(
            PromptToPrompt(source=SOURCE, blend=LocalBlend(threshold=threshold, start=0)),
            prompt=TARGET,
        )
        for threshold in (0.0, 1.0)
    }
    plain = edit_session(PromptToPrompt(source=SOURCE), prompt=TARGET)
    assert greatest_difference(with_blend[0.0].images, plain.images) < 1e-6
    nothing = with_blend[1.0]
    assert greatest_difference(nothing.images, nothing.branches["source"]) < 1e-6
    assert not nothing.reports["prompt-to-prompt.mask"][0].any()


def test_several_targets_equal_one_at_a_time():
    targets = [TARGET, "a catalogue on green grass", "a cat on green grass at night"]
    method = PromptToPrompt(
        source=SOURCE, reweight={"catalogue": 2}, cross_replace={"dog": 0.5, "default_": 0.8}
    )
    call = {"num_inference_steps": STEPS, "output_type": "latent", "seed": [3, 4, 5]}
    together = Pipeline(ToyEngine())(targets, edits=[method], **call)
    split = Pipeline(ToyEngine(), max_rows=4)(targets, edits=[method], **call)
    torch.testing.assert_close(together.latents, split.latents, atol=1e-4, rtol=0)
    assert together.reports["prompt-to-prompt.edit"] == ["replace", "replace", "refine"]
    assert split.reports == together.reports
    single = PromptToPrompt(source=SOURCE, cross_replace={"dog": 0.5, "default_": 0.8})
    alone = Pipeline(ToyEngine())(TARGET, edits=[single], **{**call, "seed": 3})
    torch.testing.assert_close(alone.latents[0], together.latents[0], atol=1e-4, rtol=0)


def test_attention_edits_come_and_go_with_their_windows(edit_session):
    method = PromptToPrompt(source=SOURCE, cross_replace=(0.2, 0.8), self_replace=0.4)
    trace = edit_session.trace(method, prompt=TARGET, num_inference_steps=10)
    cross = [bool(s.edits) and s.edits[0].cross_map is not None for s in trace.steps]
    gates = [bool(s.edits) and bool(s.edits[0].self_q) for s in trace.steps]
    assert cross == [False] * 2 + [True] * 6 + [False] * 2
    assert gates == [True] * 4 + [False] * 6
    edit = trace.steps[0].edits[0]
    assert edit.half == "cond"
    assert edit.self_q == edit.self_k == {"down_blocks.1.attn1", "up_blocks.0.attn1"}
    assert not edit.self_v
    assert trace.steps[9].edits == ()


def test_levels_of_self_attention(edit_session):
    method = PromptToPrompt(source=SOURCE, self_levels=(0,))
    trace = edit_session.trace(method, prompt=TARGET)
    assert trace.steps[0].edits[0].self_q == {"down_blocks.0.attn1", "up_blocks.1.attn1"}
    none = edit_session.trace(PromptToPrompt(source=SOURCE, self_levels=()), prompt=TARGET)
    assert not none.steps[0].edits[0].self_q


def test_taps_are_asked_for_only_by_the_blend(edit_session):
    plain = edit_session.trace(EDITS["replace"], prompt=TARGET, record_attention=False)
    blend = edit_session.trace(EDITS["blend"], prompt=TARGET, record_attention=False)
    assert plain.predictions[0].maps is None
    assert blend.predictions[0].maps is not None


def test_the_recipe_repeats_the_edit(method, edit_session):
    first = edit_session(method, prompt=TARGET)
    recipe = json.loads(json.dumps(first.recipe))
    again = edit_session.pipeline.replay(recipe, output_type="pt")
    assert greatest_difference(first.images, again.images) == 0


@pytest.mark.parametrize(
    ("parameters", "prompt", "error", "message"),
    [
        ({"source": " "}, TARGET, InvalidRequestError, "source"),
        ({"edit": "replace"}, "a big dog on green grass", InvalidRequestError, "refine"),
        ({"cross_replace": 1.2}, TARGET, InvalidRequestError, "fractions"),
        ({"cross_replace": math.nan}, TARGET, InvalidRequestError, "fractions"),
        ({"cross_replace": (0.8, 0.2)}, TARGET, InvalidRequestError, "fractions"),
        ({"cross_replace": {"dog": -0.1}}, TARGET, InvalidRequestError, "fractions"),
        ({"self_replace": (-0.1, 0.2)}, TARGET, InvalidRequestError, "fractions"),
        ({"self_levels": (7,)}, TARGET, UnknownSiteError, "self"),
        ({"cross_replace": {"horse": 0.5}}, TARGET, UnknownWordError, "'grass'"),
        ({"reweight": {"horse": 2}}, TARGET, UnknownWordError, "cross|reweight.*'grass'"),
        ({"reweight": {"cat": 2}}, TARGET, UnknownWordError, "word of the source"),
        ({"reweight": {"dog": math.nan}}, TARGET, InvalidRequestError, "nan"),
        ({"reweight": {"dog": math.inf}}, TARGET, InvalidRequestError, "inf"),
        ({"reweight": {"!": 2}}, TARGET, InvalidRequestError, "no word"),
        ({"blend": LocalBlend(words=("horse",))}, TARGET, UnknownWordError, "blend.words"),
        ({"blend": LocalBlend(source_words=("dog",))}, TARGET, UnknownWordError, "source_words"),
        ({"blend": LocalBlend(subtract=("sky",))}, TARGET, UnknownWordError, "subtract"),
        ({"blend": LocalBlend(threshold=math.nan)}, TARGET, InvalidRequestError, "threshold"),
        ({"blend": LocalBlend(start=1.5)}, TARGET, InvalidRequestError, "start"),
        ({"blend": LocalBlend()}, SOURCE, InvalidRequestError, "no word says"),
        ({"blend": LocalBlend(words=("dog",))}, [TARGET, SOURCE], InvalidRequestError, "no word"),
        ({}, "a dog " * 50, InvalidRequestError, "more than 77 tokens"),
        ({"source": "a cat " * 50}, TARGET, InvalidRequestError, "more than 77 tokens"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_first_step(
    parameters, prompt, error, message, edit_session, monkeypatch
):
    def never(*_):
        raise AssertionError("the UNet ran")

    monkeypatch.setattr(edit_session.pipeline.engine, "predict", never)
    method = PromptToPrompt(**{"source": SOURCE, **parameters})
    with pytest.raises(error, match=message):
        edit_session(method, prompt=prompt)


def test_a_word_of_one_of_several_targets_is_enough(edit_session):
    method = PromptToPrompt(source=SOURCE, reweight={"dog": 2}, self_replace=0.0)
    plain = PromptToPrompt(source=SOURCE, self_replace=0.0)
    targets = [TARGET, "a fish on green grass"]
    weighted = edit_session(method, prompt=targets).images
    unweighted = edit_session(plain, prompt=targets).images
    assert greatest_difference(weighted[:1], unweighted[:1]) > 1e-3
    assert greatest_difference(weighted[1:], unweighted[1:]) < 1e-6
