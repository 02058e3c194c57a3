"""Edits of real pictures: what starts where, what follows, what is refused."""

from dataclasses import replace

import pytest
import torch
from underpaint import Branch, Needs, Pipeline, hookimpl
from underpaint.errors import (
    InvalidRequestError,
    NonFiniteError,
)
from underpaint.testing import greatest_difference, toy_pipeline

from tests.framework.pictures import PROMPT, eight_bit, picture


class Starts:
    """Starts from the inverted noise; brings a real branch if it has a prompt for one."""

    def __init__(self, source=None):
        self.source = source

    @hookimpl
    def needs(self):
        return Needs(inversion=True)

    @hookimpl
    def branches(self):
        return [Branch("source", self.source, real=True)] if self.source else None


class Looks:
    @hookimpl
    def needs(self):
        return Needs(image=True)

    @hookimpl(wrapper=True)
    def initial_latents(self, run):
        latents = yield
        run.report("seen", list(run.request.image.pixels))
        return latents


def test_a_picture_is_inverted_with_the_prompt_of_its_branch(edit_session, make_method):
    pipe = edit_session.pipeline
    edit = make_method(lambda: Starts("a cat"))
    traced = edit_session.trace(edit, image=picture())
    path = pipe.invert(picture(), "a cat", num_inference_steps=4)
    assert traced.result.trajectory.prompts == ("a cat",)
    assert torch.equal(traced.result.trajectory.pivots, path.pivots)
    first = traced.steps[0]
    for branch in ("main", "source"):
        start = first.latents[first.layout.trajectories_of(branch)]
        assert torch.equal(start, path.at(first.move.t))
    assert traced.result.image.placements[0].original == (32, 32)


def test_a_real_branch_follows_and_has_no_uncond_row_unless_told_otherwise(
    edit_session, make_method
):
    edit = make_method(lambda: Starts("a cat"))
    followed = edit_session.trace(edit, image=picture())
    drifting = edit_session.trace(edit, image=picture(), follow=False)
    assert len(followed.steps[0].layout.rows) == 3
    assert len(drifting.steps[0].layout.rows) == 4
    end = followed.result.trajectory.at(-1)
    source = followed.steps[0].layout.trajectories_of("source")
    assert torch.equal(followed.latents[-1][source], end)
    assert not torch.allclose(drifting.latents[-1][source], end, atol=1e-3)


def test_without_a_real_branch_the_main_prompt_inverts(edit_session, make_method):
    result = edit_session(make_method(Starts), image=picture(), prompt="a fish")
    assert result.trajectory.prompts == ("a fish",)


def test_without_a_picture_a_real_branch_is_an_ordinary_one(edit_session, make_method):
    result = edit_session(make_method(lambda: Starts("a cat")))
    assert result.trajectory is None
    assert greatest_difference(result.images, edit_session().images) < 1e-4


def test_an_edit_that_only_looks_at_the_picture_inverts_nothing(edit_session, make_method, calls):
    result = edit_session(make_method(Looks), image=picture())
    assert len(calls) == 4
    assert torch.equal(result.reports["seen"][0], torch.from_numpy(eight_bit(picture())))


def test_a_picture_that_no_edit_uses_is_refused(edit_session):
    with pytest.raises(InvalidRequestError, match="no edit of this call uses it"):
        edit_session(image=picture())


def test_edits_that_describe_a_picture_differently_are_refused(edit_session, make_method):
    class Other(Starts):
        @hookimpl
        def branches(self):
            return [Branch("other", "a dog", real=True)]

    edits = [make_method(lambda: Starts("a cat")), make_method(Other)]
    with pytest.raises(InvalidRequestError, match=r"\['a cat', 'a dog'\]"):
        edit_session(*edits, image=picture())


class OwnPrompt(Starts):
    """Its real branch shows what the call's prompt says."""

    @hookimpl
    def branches(self):
        return [Branch("reference", None, real=True)]


def test_the_calls_prompt_and_an_equal_source_say_the_same(edit_session, make_method):
    edits = [make_method(OwnPrompt), make_method(lambda: Starts("a cat"))]
    assert edit_session(*edits, image=picture(), prompt="a cat").trajectory.prompts == ("a cat",)
    with pytest.raises(InvalidRequestError, match=r"\['a cat', 'a dog'\]"):
        edit_session(*edits, image=picture(), prompt="a dog")


def test_several_pictures_have_a_path_each(edit_session, make_method):
    pictures = [picture(0), picture(1)]
    edit = make_method(lambda: Starts("a cat"))
    both = edit_session(edit, image=pictures, prompt=["a dog", "a fish"])
    for index, prompt in enumerate(["a dog", "a fish"]):
        alone = edit_session(edit, image=pictures[index], prompt=prompt)
        assert greatest_difference([both.images[index]], alone.images) < 1e-4


def test_one_picture_serves_several_targets_after_one_inversion(edit_session, make_method, calls):
    edit = make_method(lambda: Starts("a cat"))
    both = edit_session(edit, image=picture(), prompt=["a dog", "a fish"])
    assert calls == [1] * 4 + [6] * 4
    alone = edit_session(edit, image=picture(), prompt="a fish")
    assert greatest_difference(both.images[1:], alone.images) < 1e-4


def test_a_split_request_keeps_pictures_and_prompts_together(make_method):
    edit = make_method(lambda: Starts("a cat"))
    arguments = {
        "prompt": ["a dog", "a fish", "a bus"],
        "image": [picture(k) for k in range(3)],
        "edits": [edit],
        "seed": 7,
        "num_inference_steps": 3,
        "output_type": "pt",
    }
    whole = toy_pipeline()(**arguments)
    split = replace(toy_pipeline(), max_rows=4)(**arguments)
    assert greatest_difference(whole.images, split.images) < 1e-4


def test_the_second_edit_of_a_picture_skips_the_inversion(edit_session, make_method, calls):
    edit = make_method(lambda: Starts("a cat"))
    first = edit_session(edit, image=picture(), prompt="a dog")
    calls.clear()
    second = edit_session(edit, image=picture(), prompt="a dog")
    assert calls == [3] * 4
    assert greatest_difference(first.images, second.images) == 0


def test_bad_arguments_are_refused(edit_session, make_method):
    path = edit_session.pipeline.invert([picture(0), picture(1)], PROMPT, num_inference_steps=4)
    edit = make_method(Starts)
    cases = [
        ({"trajectory": path}, "of 2 pictures, the call of 1"),
        ({"trajectory": picture()}, "trajectory is Tensor"),
        ({"trajectory": path, "latents": torch.zeros(1, 4, 8, 8)}, "not both"),
        ({"image": [picture()] * 3}, "3 pictures for 1 prompts"),
        ({"image": []}, "0 pictures"),
        ({"image": picture(), "fit": "stretch"}, "Valid: 'crop', 'letterbox'"),
        ({"image": picture(), "refinements": -1}, "refinements=-1"),
    ]
    for call, message in cases:
        with pytest.raises(InvalidRequestError, match=message):
            edit_session(edit, **call)
    with pytest.raises(InvalidRequestError, match="prompt is empty"):
        edit_session.pipeline.invert(picture(), " ")
    with pytest.raises(NonFiniteError):
        edit_session.pipeline.invert(torch.full((3, 32, 32), float("nan")), PROMPT)


def test_other_words_than_the_inversion_s_are_told(edit_session, make_method):
    path = edit_session.pipeline.invert(picture(), "a cat", num_inference_steps=4)
    result = edit_session(make_method(lambda: Starts("a bus")), trajectory=path)
    assert "was inverted with ['a cat'], and is edited as 'a bus'" in result.warnings[0]


def test_a_recipe_takes_its_picture_again(edit_session, make_method, monkeypatch):
    from underpaint import registry

    edit = make_method(lambda: Starts("a cat"))
    result = edit_session(edit, image=picture())
    assert result.recipe["reproducible"]
    monkeypatch.setattr(registry, "load", lambda group, name: type(edit))
    pipe: Pipeline = edit_session.pipeline
    with pytest.raises(InvalidRequestError, match=r"edits a picture.*image=\.\.\., or --image"):
        pipe.replay(result.recipe)
    again = pipe.replay(result.recipe, image=picture(), output_type="pt")
    assert greatest_difference(result.images, again.images) == 0
    assert again.warnings == ()
    other = pipe.replay(result.recipe, image=picture(1), output_type="pt")
    assert "made with another picture" in other.warnings[0]
    given = edit_session(edit, trajectory=result.trajectory)
    assert not given.recipe["reproducible"]


def test_an_edit_may_take_part_in_the_inversion_of_the_calls_picture(edit_session, make_method):
    class Doubles:
        @hookimpl(wrapper=True)
        def predict(self, step):
            prediction = yield
            moves = step.move.kind == "invert"
            return prediction.with_noise(2 * prediction.noise) if moves else prediction

    inner = make_method(Doubles)

    class Edit(type(make_method(Starts))):
        def inverting(self):
            return (inner,)

    call = {"image": picture(), "num_inference_steps": 4}
    paths = [edit_session(*edits, **call).trajectory for edits in ([Edit()], [Edit()] * 2)]
    plain = edit_session(make_method(Starts), **call).trajectory
    assert (paths[0].pivots - plain.pivots).abs().max() > 1e-3
    assert torch.equal(paths[0].pivots, paths[1].pivots)  # asked for twice, it takes part once
