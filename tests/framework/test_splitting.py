"""A request larger than the engine's batch becomes several runs."""

import pytest
from underpaint import Branch, Pipeline, hookimpl
from underpaint.errors import InvalidRequestError
from underpaint.testing import EditSession, ToyEngine, greatest_difference

PROMPTS = ["a dog", "a red cat", "green grass", "a blue house on a hill", "a boat"]


class CountingEngine(ToyEngine):
    def __init__(self, max_rows):
        super().__init__(max_rows=max_rows)
        self.rows = []

    def predict(self, call):
        self.rows.append(len(call.sample))
        return super().predict(call)


class WithSource:
    @hookimpl
    def branches(self):
        return [Branch("source", "a photo")]


def run(max_rows, *edits, engine=None, **call):
    engine = engine or CountingEngine(max_rows)
    session = EditSession(Pipeline(engine, max_rows=max_rows))
    result = session(
        *edits, **{"prompt": PROMPTS, "num_inference_steps": 2, "seed": [1, 2, 3, 4, 5], **call}
    )
    return result, engine.rows


def test_a_split_request_gives_the_same_images_in_order():
    whole, rows = run(64)
    assert rows == [10, 10]
    split, rows = run(4)
    assert rows == [4, 4, 4, 4, 2, 2]
    assert greatest_difference(whole.images, split.images) < 1e-4
    assert split.seeds == whole.seeds
    assert len(split.timings.steps) == 2


def test_a_gang_is_never_split(make_method):
    edit = make_method(WithSource)
    whole, _ = run(64, edit)
    split, rows = run(10, edit)
    assert rows == [8, 8, 8, 8, 4, 4]
    assert greatest_difference(whole.images, split.images) < 1e-4
    assert greatest_difference(whole.branches["source"], split.branches["source"]) < 1e-4
    assert len(split.branches["source"]) == 5


def test_a_limit_below_one_gang_says_how_many_rows_it_takes(make_method):
    with pytest.raises(InvalidRequestError, match=r"\['main', 'source'\] takes 4.*limit is 3"):
        run(3, make_method(WithSource))


def test_given_latents_negative_prompts_and_maps_are_split_with_their_images():
    import torch

    latents = torch.randn(5, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    negatives = ["rain", "snow", "fog", "sun", "wind"]
    call = {"latents": latents, "negative_prompt": negatives, "record_attention": True, "eta": 1.0}
    (whole, _), (split, _) = run(64, **call), run(2, **call)
    assert greatest_difference(whole.images, split.images) < 1e-4
    maps = [result.attention.image(3)["house"] for result in (whole, split)]
    assert maps[0].shape == (1, 4, 4)
    assert greatest_difference(*([m] for m in maps)) < 1e-4


def test_reports_and_warnings_of_the_parts_are_joined(make_method):
    class Reports:
        @hookimpl
        def after_step(self, step):
            step.run.report("prompt", list(step.run.request.prompts))
            step.run.warn("told once")

    result, _ = run(4, make_method(Reports))
    assert result.reports["prompt"] == PROMPTS
    assert result.warnings == ("told once",)


def test_one_object_a_call_and_one_a_run(make_method):
    objects = {}

    class Counts:
        @hookimpl
        def branches(self):
            objects.setdefault("branches", []).append(self)

        @hookimpl
        def before_step(self):
            objects.setdefault("before_step", []).append(self)

        @hookimpl(wrapper=True)
        def result(self):
            objects.setdefault("result", []).append(self)
            return (yield)

    run(4, make_method(Counts))
    assert objects["branches"] == objects["result"]
    assert len(objects["branches"]) == 1
    assert len(set(objects["before_step"])) == 3
    assert not set(objects["branches"]) & set(objects["before_step"])
