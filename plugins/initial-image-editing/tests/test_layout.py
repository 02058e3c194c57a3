"""Layout to image as a user meets it, on the engine without weights."""

from __future__ import annotations

import json

import pytest
import torch
from pydantic import ValidationError
from underpaint import Pipeline
from underpaint.errors import InvalidRequestError, UnknownSiteError, UnknownWordError
from underpaint.run import seed_noise
from underpaint.testing import (
    ToyEngine,
    assert_identity_at_zero_strength,
    check_plugin,
    greatest_difference,
)
from underpaint_initial_image_editing import LayoutToImage, Repaint
from underpaint_initial_image_editing.blocks import permute_blocks

PROMPT = "a dog and a catalogue on green grass"
LEFT, RIGHT = (0.0, 0.25, 0.5, 1.0), (0.5, 0.25, 1.0, 0.75)
BOXES = {"dog": LEFT, "catalogue": RIGHT}

EDITS = {
    "one box": LayoutToImage(boxes={"dog": LEFT}),
    "two boxes": LayoutToImage(boxes=BOXES),
    "other order": LayoutToImage(boxes={"catalogue": RIGHT, "dog": LEFT}),
    "in order": LayoutToImage(boxes=BOXES, pairing="index"),
    "ranking": LayoutToImage(boxes=BOXES, rule="ranking"),
    "up": LayoutToImage(boxes=BOXES, place="up"),
    "level 0": LayoutToImage(boxes=BOXES, level=0),
    "again": LayoutToImage(boxes=BOXES, until=1.0),
    "bias": LayoutToImage(boxes=BOXES, bias=3.0),
    "bias alone": LayoutToImage(boxes=BOXES, bias=3.0, swap=False),
    "weaker bias": LayoutToImage(boxes=BOXES, bias=1.0),
}


@pytest.fixture(params=EDITS)
def method(request):
    return EDITS[request.param]


def test_every_edit_keeps_the_rules_of_plugins_and_changes_something(method):
    report = check_plugin(method, prompt=PROMPT)
    assert report.branches == ()
    assert report.reproducible
    assert report.change > 1e-3


def test_every_edit_differs_from_every_other(edit_session):
    images = {n: edit_session(edit, prompt=PROMPT, seed=3).images for n, edit in EDITS.items()}
    names = list(images)
    for k, name in enumerate(names):
        for other in names[:k]:
            assert greatest_difference(images[name], images[other]) > 1e-4, (name, other)


@pytest.mark.parametrize("off", [{}, {"rule": "ranking"}, {"bias": 3.0}, {"until": 1.0}])
def test_no_boxes_are_no_edit(off):
    assert_identity_at_zero_strength(LayoutToImage(boxes={}, **off), prompt=PROMPT)


def test_no_swap_and_no_bias_are_no_edit():
    assert_identity_at_zero_strength(LayoutToImage(boxes=BOXES, swap=False), prompt=PROMPT)


def test_one_box_for_the_whole_picture_is_no_edit():
    assert_identity_at_zero_strength(LayoutToImage(boxes={"dog": (0, 0, 1, 1)}), prompt=PROMPT)


@pytest.mark.parametrize("method", [n for n, e in EDITS.items() if e.swap], indirect=True)
def test_x_t_is_its_own_blocks_in_another_order(method, edit_session):
    trace = edit_session.trace(method, prompt=PROMPT)
    start, noise = trace.steps[0].latents[0], seed_noise(7, (4, 8, 8))
    level = 1 if method.level is None else method.level
    sources = trace.result.reports["layout.sources"][0]
    assert sources.shape == (8 >> level, 8 >> level)
    assert torch.equal(start, permute_blocks(noise[None], sources.flatten()[None], 1 << level)[0])
    assert not torch.equal(start, noise)
    assert torch.equal(start.flatten().sort()[0], noise.flatten().sort()[0])


def test_the_box_is_filled_by_what_attends_most_to_its_word(edit_session):
    reports = edit_session(EDITS["one box"], prompt=PROMPT).reports
    attention, sources = reports["layout.maps"][0]["dog"], reports["layout.sources"][0]
    moved = attention.flatten()[sources]
    assert moved[1:, :2].min() > moved[1:, 2:].max()


@pytest.mark.parametrize(("until", "probes"), [(0.0, 1), (0.2, 1), (0.3, 1), (0.6, 2), (1.0, 4)])
def test_the_unet_is_asked_again_where_blocks_are_moved_again(
    until, probes, edit_session, monkeypatch
):
    engine, asked = edit_session.pipeline.engine, []
    predict = engine.predict
    monkeypatch.setattr(engine, "predict", lambda call: asked.append(call) or predict(call))
    trace = edit_session.trace(LayoutToImage(boxes=BOXES, until=until), prompt=PROMPT)
    assert [round(step.progress, 2) for step in trace.steps] == [0.25, 0.5, 0.75, 1.0]
    assert sum(bool(call.maps) for call in asked) == probes
    assert len(asked) == 4 + probes
    assert all(call.timestep.tolist() == [751] for call in asked[:1])
    assert all(len(call.sample) == (1 if call.maps else 2) for call in asked)


def test_the_bias_stands_in_the_box_and_falls(edit_session):
    trace = edit_session.trace(EDITS["bias"], prompt=PROMPT)
    tokens = trace.steps[0].run.tokens([PROMPT])[0]
    for step in trace.steps:
        (edit,) = step.edits
        assert (edit.target, edit.source, edit.half) == ("main", "main", "cond")
        assert edit.cross_bias.keys() == {
            site.name for site in step.run.request.model.sites.of_kind("cross")
        }
        small = edit.cross_bias["down_blocks.1.attn2"][0].reshape(4, 4, -1)  # [rows, columns, L]
        strength = 3 * (1 - step.progress)
        dog, book = tokens.find("dog"), tokens.find("catalogue")
        assert len(book) == 2
        assert small[1:, :2, list(dog)].eq(strength).all()
        assert small[1:3, 2:, list(book)].eq(strength).all()
        assert int((small != 0).sum()) == 6 + 4 * 2
        large = edit.cross_bias["up_blocks.1.attn2"][0].reshape(8, 8, -1)
        assert int((large != 0).sum()) == 4 * (6 + 4 * 2)
    unbiased = edit_session.trace(EDITS["two boxes"], prompt=PROMPT)
    assert all(not step.edits for step in unbiased.steps)


def test_nothing_is_read_in_the_steps(edit_session):
    trace = edit_session.trace(EDITS["again"], prompt=PROMPT)
    assert all(prediction.maps is None for prediction in trace.predictions)


def test_several_images_equal_one_at_a_time():
    call = {"num_inference_steps": 3, "output_type": "latent"}
    prompts = [PROMPT, "grass under a dog and a catalogue"]
    edit = LayoutToImage(boxes=BOXES, bias=2.0)
    together = Pipeline(ToyEngine())(prompts, edits=[edit], seed=[3, 4], **call)
    split = Pipeline(ToyEngine(), max_rows=2)(prompts, edits=[edit], seed=[3, 4], **call)
    torch.testing.assert_close(together.latents, split.latents, atol=1e-4, rtol=0)
    alone = Pipeline(ToyEngine())(prompts[1], edits=[edit], seed=4, **call)
    torch.testing.assert_close(alone.latents[0], together.latents[1], atol=1e-4, rtol=0)
    sources = [result.reports["layout.sources"] for result in (together, split)]
    assert all(torch.equal(a, b) for a, b in zip(*sources, strict=True))


@pytest.mark.parametrize("size", [(48, 16), (64, 96)])
def test_any_size(size, edit_session):
    height, width = size
    result = edit_session(EDITS["two boxes"], prompt=PROMPT, height=height, width=width)
    assert result.reports["layout.sources"][0].shape == (height // 8, width // 8)


def test_branches_that_share_the_noise_go_on_sharing_it(edit_session):
    exact = Repaint(mask=(0, 0, 0.5, 0.5), keep="exact", rank=False)
    trace = edit_session.trace(EDITS["one box"], exact, prompt=PROMPT)
    main, base = trace.steps[0].latents
    swapped = edit_session.trace(EDITS["one box"], prompt=PROMPT).steps[0].latents[0]
    assert torch.equal(base, swapped)
    assert torch.equal(main[:, 4:], swapped[:, 4:])
    assert not torch.equal(main[:, :4, :4], swapped[:, :4, :4])


def test_the_recipe_repeats_the_edit(method, edit_session):
    first = edit_session(method, prompt=PROMPT)
    again = edit_session.pipeline.replay(json.loads(json.dumps(first.recipe)), output_type="pt")
    assert greatest_difference(first.images, again.images) == 0


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"boxes": {"horse": LEFT}}, UnknownWordError, "'catalogue'"),
        ({"boxes": {"!": LEFT}}, InvalidRequestError, "no word"),
        ({"boxes": {"dog": LEFT, "Dog": RIGHT}}, InvalidRequestError, "same word"),
        ({"boxes": {"dog": (-0.1, 0, 0.5, 1)}}, InvalidRequestError, "fractions"),
        ({"boxes": {"dog": (0, 0, 0.5, 1.1)}}, InvalidRequestError, "fractions"),
        ({"boxes": {"dog": (0.5, 0, 0.5, 1)}}, InvalidRequestError, "left < right"),
        ({"boxes": {"dog": (0, 1, 0.5, 0.5)}}, InvalidRequestError, "top < bottom"),
        ({"boxes": {"dog": (0, 0, float("nan"), 1)}}, InvalidRequestError, "fractions"),
        ({"boxes": {"dog": (0, 0, 0.1, 1)}}, InvalidRequestError, "4x4 places.*0.250 wide"),
        (
            {"boxes": {"dog": LEFT, "catalogue": (0.3, 0, 1, 0.6)}},
            InvalidRequestError,
            "'dog' and 'catalogue' overlap in 1 of 16",
        ),
        ({"level": 5}, UnknownSiteError, "level 1, down"),
        ({"place": "mid"}, UnknownSiteError, "cross sites"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_first_step(
    parameters, error, message, edit_session, monkeypatch
):
    def never(*_):
        raise AssertionError("the UNet ran")

    monkeypatch.setattr(edit_session.pipeline.engine, "predict", never)
    with pytest.raises(error, match=message):
        edit_session(LayoutToImage(**{"boxes": BOXES, **parameters}), prompt=PROMPT)


def test_a_word_that_only_some_prompts_have_is_refused(edit_session):
    with pytest.raises(UnknownWordError, match="catalogue"):
        edit_session(EDITS["two boxes"], prompt=[PROMPT, "a dog on grass"])


@pytest.mark.parametrize(
    "parameters",
    [
        {"boxes": {"dog": (0, 0, 1)}},
        {"rule": "best"},
        {"pairing": "none"},
        {"until": 1.5},
        {"bias": -1},
        {"bias": float("inf")},
        {"strength": 1},
    ],
)
def test_parameters_are_checked(parameters):
    with pytest.raises(ValidationError):
        LayoutToImage(**{"boxes": BOXES, **parameters})


def test_other_branches_are_biased_at_the_words_counterparts(edit_session, with_branch):
    source = "a cat and a catalogue on green grass"
    trace = edit_session.trace(EDITS["bias"], with_branch(source), prompt=PROMPT)
    step = trace.steps[0]
    main, other = step.edits
    assert (main.target, other.target, other.source) == ("main", "other", "other")
    own, theirs = step.run.tokens([PROMPT, source])
    name = "down_blocks.1.attn2"
    pairs = zip(own.find("dog"), theirs.find("cat"), strict=True)
    for a, b in [*pairs, *zip(own.find("catalogue"), theirs.find("catalogue"), strict=True)]:
        assert torch.equal(main.cross_bias[name][0, :, a], other.cross_bias[name][0, :, b])
        assert main.cross_bias[name][0, :, a].any()


def test_a_word_without_a_counterpart_is_biased_in_its_own_branch_alone(edit_session, with_branch):
    trace = edit_session.trace(EDITS["bias"], with_branch("green grass"), prompt=PROMPT)
    main, other = trace.steps[0].edits
    assert all(bias.any() for bias in main.cross_bias.values())
    assert not any(bias.any() for bias in other.cross_bias.values())
