import json

import pytest
import torch
from underpaint import registry
from underpaint.errors import InvalidRequestError, UnknownNameError
from underpaint.testing import EditSession, greatest_difference, toy_pipeline


def test_a_recipe_survives_json_and_replays_to_equal_bytes(edit_session):
    result = edit_session(
        prompt=["a dog", "a cat"],
        num_images_per_prompt=2,
        negative_prompt="rain",
        guidance_scale=3.0,
        eta=0.5,
        timestep_spacing="trailing",
        height=64,
    )
    recipe = json.loads(json.dumps(result.recipe))
    assert recipe["reproducible"]
    again = edit_session.pipeline.replay(recipe, output_type="pt")
    assert greatest_difference(result.images, again.images) == 0
    assert again.recipe == recipe


def test_an_edit_is_replayed_by_its_name(edit_session, monkeypatch):
    from underpaint import Method, hookimpl

    class Scaled:
        def __init__(self, factor):
            self.factor = factor

        @hookimpl(wrapper=True)
        def advance(self):
            return (yield) * self.factor

    class Scale(Method):
        method = "scale"
        factor: float = 1.0

        def start(self):
            return Scaled(self.factor)

    monkeypatch.setattr(registry, "load", lambda group, name: {"scale": Scale}[name])
    result = edit_session(Scale(factor=0.9))
    assert result.recipe["edits"] == [{"method": "scale", "factor": 0.9}]
    again = edit_session.pipeline.replay(result.recipe, output_type="pt")
    assert greatest_difference(result.images, again.images) == 0


def test_changes_override_the_recipe(edit_session):
    recipe = edit_session().recipe
    changed = edit_session.pipeline.replay(recipe, seed=8, output_type="pt")
    assert greatest_difference(changed.images, edit_session(seed=8).images) == 0


def test_another_model_is_refused(edit_session):
    recipe = edit_session().recipe
    other = toy_pipeline(prediction_type="v_prediction")
    with pytest.raises(InvalidRequestError, match=r"made with 'toy' \(\w{12}\), this is 'toy'"):
        other.replay(recipe)


def test_a_call_that_json_does_not_hold_says_so(edit_session):
    given = edit_session(latents=torch.zeros(1, 4, 8, 8))
    assert not given.recipe["reproducible"]
    with pytest.raises(InvalidRequestError, match=r"Pass the same values"):
        edit_session.pipeline.replay(given.recipe)


@pytest.mark.parametrize("recipe", [{}, {"format": 1}, {"format": 99}])
def test_what_is_no_recipe_is_refused(edit_session, recipe):
    with pytest.raises(InvalidRequestError, match=r"Not a recipe of format 2"):
        edit_session.pipeline.replay(recipe)
    full = {**edit_session().recipe, "format": 99}
    with pytest.raises(InvalidRequestError, match=r"Not a recipe"):
        edit_session.pipeline.replay(full)


def test_an_edit_that_is_not_installed_is_named(edit_session):
    recipe = {**edit_session().recipe, "edits": [{"method": "no-such-method"}]}
    with pytest.raises(UnknownNameError, match=r"No method named 'no-such-method'"):
        edit_session.pipeline.replay(recipe)


def test_an_edit_with_a_parameter_json_cannot_hold_still_runs(make_method):
    from underpaint import Method, hookimpl

    class Shift:
        def __init__(self, by):
            self.by = by

        @hookimpl(wrapper=True)
        def initial_latents(self):
            return (yield) + self.by

    class Shifted(Method):
        method = "shifted"
        by: torch.Tensor

        def start(self):
            return Shift(self.by)

    session = EditSession()
    result = session(Shifted(by=torch.ones(4, 8, 8)))
    assert not result.recipe["reproducible"]
    json.dumps(result.recipe)
    with pytest.raises(InvalidRequestError, match=r"'shifted'"):
        session.pipeline.replay(result.recipe)
