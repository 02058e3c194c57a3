"""Asyrp against its equations, written out."""

import pytest
import torch
from underpaint import Branch, hookimpl
from underpaint.errors import InvalidRequestError
from underpaint.schedule import ddim_step, x0_from_noise
from underpaint.testing import (
    EditSession,
    assert_identity_at_zero_strength,
    check_plugin,
    greatest_difference,
    toy_pipeline,
)
from underpaint_asyrp import Asyrp, Attribute
from underpaint_prompt_to_prompt import PromptToPrompt

PROMPTS = ["a dog on grass", "a red boat"]


def delta_of(path, prediction, step, halves=("cond",)):
    """``f_t(h)`` in the main branch's rows of those halves, for all rows of the step."""
    direction = Attribute.load(path).direction
    delta = torch.zeros_like(prediction.features["mid_block"])
    for half in halves:
        rows = step.layout.rows_of("main", half)
        delta[rows] = direction(prediction.features["mid_block"][rows], step.move.t)
    return delta


def evaluate(step, prediction, delta):
    return step.combine(step.evaluate(sample=prediction.sample, hidden_delta=delta))


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("halves", ["cond", "both"])
def test_a_step_is_the_direct_form_and_the_closed_form(make_attribute, prediction_type, halves):
    pipeline = toy_pipeline(prediction_type=prediction_type)
    path = make_attribute(model=pipeline.engine.info, halves=halves)
    edit = Asyrp(attributes={path: 1.0})
    trace = EditSession(pipeline).trace(edit, prompt=PROMPTS)
    rows = ("cond",) if halves == "cond" else ("uncond", "cond")
    moved = 0
    for step, prediction, latents in zip(
        trace.steps, trace.predictions, trace.latents, strict=True
    ):
        plain = prediction.noise
        if step.move.t >= 300:
            moved += 1
            shifted = evaluate(step, prediction, delta_of(path, prediction, step, rows))
        else:
            shifted = plain
        alpha, next_alpha = step.alpha, step.next_alpha
        picture = x0_from_noise(step.latents, shifted, alpha)
        direct = ddim_step(picture, plain, next_alpha)
        ddim = ddim_step(x0_from_noise(step.latents, plain, alpha), plain, next_alpha)
        closed = ddim - (next_alpha * (1 - alpha) / alpha) ** 0.5 * (shifted - plain)
        assert torch.allclose(latents, direct, atol=1e-4)
        assert torch.allclose(direct, closed, atol=1e-4)
        if prediction_type == "v_prediction":  # e~ - e = sqrt(a) (v~ - v)
            velocity = (shifted - plain) / alpha**0.5
            in_v = ddim - (next_alpha * (1 - alpha)) ** 0.5 * velocity
            assert torch.allclose(latents, in_v, atol=1e-4)
        assert bool((shifted - plain).abs().max() > 1e-3) == (step.move.t >= 300)
    assert 0 < moved < len(trace.steps)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_shift_in_both_parts_is_weaker(make_attribute, make_method, seed):
    """The paper's point (section 3.2): in P and D the change nearly cancels out."""
    path = make_attribute(seed=seed)

    class Symmetric:
        @hookimpl
        def needs(self, request):
            return Asyrp(attributes={path: 1.0}).start().needs(request)

        @hookimpl(wrapper=True)
        def predict(self, step):
            prediction = yield
            if step.move.t < 300:
                return prediction
            delta = delta_of(path, prediction, step)
            return prediction.with_noise(evaluate(step, prediction, delta))

    session = EditSession()
    call = {"num_inference_steps": 40, "output_type": "latent"}
    edit = Asyrp(attributes={path: 10.0})  # of 4 steps: as strong at each of 40 as in training
    plain = session(**call).images
    asymmetric = greatest_difference(session(edit, **call).images, plain)
    symmetric = greatest_difference(session(make_method(Symmetric), **call).images, plain)
    assert symmetric > 0
    assert asymmetric > 3 * symmetric


def test_zero_strength_changes_nothing_and_asks_the_model_once(make_attribute):
    edit = Asyrp(attributes={make_attribute(t_boost=500): 0.0})
    assert_identity_at_zero_strength(edit)
    calls = []

    class Counting(type(toy_pipeline().engine)):
        def predict(self, call):
            calls.append(call)
            return super().predict(call)

    pipeline = type(toy_pipeline())(Counting())
    EditSession(pipeline)(edit)
    assert len(calls) == 4
    assert all(call.hidden_delta is None and not call.features for call in calls)


def test_the_second_evaluation_has_the_moved_rows_alone_and_only_in_the_window(make_attribute):
    calls = []

    class Counting(type(toy_pipeline().engine)):
        def predict(self, call):
            calls.append(call)
            return super().predict(call)

    pipeline = type(toy_pipeline())(Counting())
    EditSession(pipeline)(Asyrp(attributes={make_attribute(t_edit=500): 1.0}))
    rows = [(len(call.sample), call.hidden_delta is not None) for call in calls]
    assert rows == [(2, False), (1, True), (2, False), (1, True), (2, False), (2, False)]
    assert [bool(call.features) for call in calls] == [True, False, True, False, False, False]


def first_shift(strengths, **call):
    """Return by how much the first step moved the predicted picture."""
    plain = EditSession().trace(**call).predictions[0]
    edited = EditSession().trace(Asyrp(attributes=strengths), **call).predictions[0]
    return edited.x0 - plain.x0


def test_the_sign_turns_the_direction(make_attribute):
    path = make_attribute(scale=0.01)  # so small that the model answers linearly
    forward, back = first_shift({path: 1.0}), first_shift({path: -1.0})
    assert forward.abs().max() > 1e-5
    assert torch.nn.functional.cosine_similarity(forward.flatten(), back.flatten(), 0) < -0.99


def test_two_attributes_are_added_and_divided_by_the_root_of_two(make_attribute):
    first, second = (make_attribute(f"a{seed}", seed=seed, scale=0.01) for seed in (0, 1))
    both = first_shift({first: 1.0, second: -0.5})
    parts = (first_shift({first: 1.0}) + first_shift({second: -0.5})) / 2**0.5
    assert torch.allclose(both, parts, atol=0.02 * float(parts.abs().max()))
    # a strength of zero is no attribute
    assert torch.equal(first_shift({first: 1.0, second: 0.0}), first_shift({first: 1.0}))


def test_with_more_steps_than_in_training_each_does_less(make_attribute):
    path, longer = (make_attribute(f"s{n}", num_inference_steps=n, scale=0.01) for n in (4, 8))
    ratio = first_shift({longer: 1.0}).norm() / first_shift({path: 1.0}).norm()
    assert abs(ratio - 2) < 0.05


def test_boosting_adds_fresh_noise_below_t_boost(make_attribute):
    path = make_attribute(t_boost=400)
    etas = [
        [step.move.eta for step in EditSession().trace(edit).steps]
        for edit in (Asyrp(attributes={path: 1.0}), Asyrp(attributes={path: 1.0}, t_boost=0))
    ]
    assert etas == [[0, 0, 1, 1], [0, 0, 0, 0]]


def test_t_edit_of_the_call_counts(make_attribute):
    path = make_attribute(t_edit=0)
    session = EditSession()
    whole = session.trace(Asyrp(attributes={path: 1.0}))
    part = session.trace(Asyrp(attributes={path: 1.0}, t_edit=600))
    times = [step.move.t for step in whole.steps]
    assert times == [751, 501, 251, 1]
    assert torch.equal(part.latents[0], whole.latents[0])
    assert not torch.allclose(part.latents[1], whole.latents[1], atol=1e-3)
    never = session(Asyrp(attributes={path: 1.0}, t_edit=1000))
    assert greatest_difference(never.images, session().images) == 0


@pytest.mark.parametrize("seed", [0, 1])
def test_a_picture_is_edited_from_its_own_noise(make_attribute, seed):
    picture = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed))
    session = EditSession()
    call = {"image": picture, "guidance_scale": 1.0, "num_inference_steps": 20}
    path = make_attribute()
    kept = session(Asyrp(attributes={path: 0.0}), **call)
    edited = session(Asyrp(attributes={path: 3.0}), **call)
    start = session.pipeline.invert(picture, session.prompt, num_inference_steps=20)
    plain = session(trajectory=start, guidance_scale=1.0, num_inference_steps=20)
    assert greatest_difference(kept.images, plain.images) < 1e-4
    assert greatest_difference(edited.images, kept.images) > 0.01


def test_an_image_does_not_depend_on_the_others_of_its_call(make_attribute):
    edit = Asyrp(attributes={make_attribute(): 1.0})
    together = EditSession()(edit, prompt=PROMPTS, seed=[3, 4]).images
    split = EditSession(toy_pipeline(max_rows=2))(edit, prompt=PROMPTS, seed=[3, 4]).images
    assert greatest_difference(together, split) < 1e-4


def test_beside_prompt_to_prompt_the_source_stays_as_it_is(make_attribute):
    session = EditSession(prompt="a dog on grass")
    swap = PromptToPrompt(source="a cat on grass")
    edit = Asyrp(attributes={make_attribute(): 1.0})
    plain, both = session(swap), session(swap, edit)
    assert greatest_difference(plain.branches["source"], both.branches["source"]) < 1e-4
    assert greatest_difference(plain.images, both.images) > 0.01


def test_what_an_edit_before_it_made_of_x0_is_kept(make_attribute, make_method):
    class Darker:
        @hookimpl(wrapper=True)
        def predict(self, step):
            prediction = yield
            return prediction.with_x0(prediction.x0 - 1)

    path = make_attribute()
    session = EditSession()
    darker = make_method(Darker)
    before = session.trace(darker).predictions[0].x0
    after = session.trace(darker, Asyrp(attributes={path: 1.0})).predictions[0].x0
    shift = first_shift({path: 1.0})
    assert torch.allclose(after - before, shift, atol=1e-4)


def test_the_other_branches_are_not_moved(make_attribute, make_method):
    class Beside:
        @hookimpl
        def branches(self):
            return [Branch("beside", None)]

    edit = Asyrp(attributes={make_attribute(): 1.0})
    session = EditSession()
    beside = session(make_method(Beside), edit).branches["beside"]
    assert greatest_difference(beside, session().images) < 1e-4


def test_attributes_trained_for_other_halves_need_a_choice(make_attribute):
    paths = [make_attribute(halves, halves=halves) for halves in ("cond", "both")]
    strengths = dict.fromkeys(paths, 1.0)
    with pytest.raises(InvalidRequestError, match="halves='cond' or halves='both'"):
        EditSession()(Asyrp(attributes=strengths))
    EditSession()(Asyrp(attributes=strengths, halves="both"))


def test_it_keeps_the_rules_of_a_method(make_attribute):
    report = check_plugin(Asyrp(attributes={make_attribute(t_boost=300): 1.0}))
    assert report.hooks == ("conditioning", "needs", "predict", "schedule")
    assert report.reproducible
    assert report.change > 0.01
