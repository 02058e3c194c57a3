"""Tries at re-painting come best first, and pictures of their own are never ranked."""

from __future__ import annotations

import json

import pytest
import torch
from underpaint import Pipeline
from underpaint.testing import ToyEngine, greatest_difference
from underpaint_initial_image_editing import Repaint

BOX = (0.0, 0.25, 0.5, 1.0)


@pytest.fixture
def picture_of():
    def make(seed):
        values = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed))
        return (values * 255).round() / 255

    return make


class Scorer:
    """Likes what is light, and keeps what it was shown."""

    def __init__(self):
        self.seen, self.said = [], []

    def image_features(self, images):
        self.seen.append(images)
        light = images.mean((1, 2, 3))
        return torch.stack([light, (1 - light.square()).clamp(min=0).sqrt()], 1)

    def text_features(self, prompts):
        self.said.append(list(prompts))
        return torch.tensor([[1.0, 0.0]]).expand(len(prompts), -1)


@pytest.mark.parametrize("rows", [64, 2])
def test_tries_come_best_first(rows):
    scorer = Scorer()
    pipe = Pipeline(ToyEngine(), scorer=scorer, max_rows=rows)
    call = {"seed": 100, "num_inference_steps": 3, "output_type": "pt"}
    prompts = ["a dog on grass", "a cat"]
    edit = Repaint(mask=BOX, base_seed=7, wanted="a dog")
    ranked = pipe(prompts, edits=[edit], num_images_per_prompt=4, record_attention=True, **call)
    plain = pipe(
        prompts,
        edits=[edit.model_copy(update={"rank": False})],
        num_images_per_prompt=4,
        record_attention=True,
        **call,
    )
    scores = [float(image[:, 8:, :16].mean()) for image in plain.images]
    order = [
        *sorted(range(4), key=lambda k: -scores[k]),
        *sorted(range(4, 8), key=lambda k: -scores[k]),
    ]
    assert order != list(range(8))
    assert ranked.seeds == tuple(plain.seeds[k] for k in order)
    assert greatest_difference(ranked.images, [plain.images[k] for k in order]) == 0
    assert torch.equal(ranked.latents, plain.latents[order])
    torch.testing.assert_close(
        torch.tensor(ranked.reports["repaint.score"]), torch.tensor([scores[k] for k in order])
    )
    for branch, maps in plain.word_maps.values.items():
        again = ranked.word_maps.values[branch]
        assert all(torch.equal(a, maps[k]) for a, k in zip(again, order, strict=True))
    assert not ranked.warnings
    assert {image.shape[1:] for image in scorer.seen} == {(3, 24, 16)}
    assert all(text == "a dog" for said in scorer.said for text in said)


def test_the_recipe_of_ranked_tries_repeats_them():
    pipe = Pipeline(ToyEngine(), scorer=Scorer())
    call = {"num_inference_steps": 3, "output_type": "pt"}
    edit = Repaint(mask=BOX, base_seed=7)
    first = pipe("a dog", edits=[edit], num_images_per_prompt=4, seed=100, **call)
    again = pipe.replay(json.loads(json.dumps(first.recipe)), output_type="pt")
    assert again.seeds == first.seeds
    assert greatest_difference(first.images, again.images) == 0


def test_pictures_under_one_prompt_are_not_ranked_together(picture_of):
    pipe = Pipeline(ToyEngine(), scorer=Scorer())
    call = {"num_inference_steps": 3, "output_type": "pt", "seed": [3, 4]}
    for images in ([picture_of(0), picture_of(1)], [picture_of(1), picture_of(0)]):
        result = pipe(["a dog"] * 2, image=images, edits=[Repaint(mask=BOX)], **call)
        assert result.seeds == (3, 4)
        assert greatest_difference(list(result.image.pixels), images) < 1e-6
    alone = pipe(["a dog"] * 2, image=picture_of(0), edits=[Repaint(mask=BOX)], **call)
    scores = alone.reports["repaint.score"]
    assert scores == sorted(scores, reverse=True)


def test_tries_without_a_scorer_stay_in_order_and_say_so(edit_session):
    result = edit_session(Repaint(mask=BOX, base_seed=3), seed=100, num_images_per_prompt=2)
    assert result.seeds == (100, 101)
    assert any("scorer" in warning for warning in result.warnings)
    for alone in ({}, {"prompt": ["a dog", "a cat"]}):
        assert not edit_session(Repaint(mask=BOX, base_seed=3), seed=100, **alone).warnings
