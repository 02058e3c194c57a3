"""Tries at one prompt and picture are ordered among themselves, and nothing else moves."""

import pytest
import torch
from underpaint.errors import InvalidRequestError
from underpaint.preparation import prepare_images
from underpaint.ranking import best_first, groups
from underpaint.request import Request
from underpaint.testing import ToyEngine
from underpaint.trajectory import Trajectory

SCORES = [0.1, 0.4, 0.2, 0.3]


@pytest.fixture
def request_of():
    def make(prompts, pictures=(), trajectory=None):
        image = prepare_images(list(pictures), (32, 32)) if pictures else None
        return Request(
            ToyEngine().info, tuple(prompts), ("",) * len(prompts), tuple(range(len(prompts))), (),
            32, 32, 4, 4.0, image=image, trajectory=trajectory,
        )  # fmt: skip

    return make


def shades(*values):
    return [torch.full((3, 32, 32), value) for value in values]


def test_images_of_one_prompt_are_ordered(request_of):
    assert best_first(request_of(["a"] * 4), SCORES) == [1, 3, 2, 0]
    assert best_first(request_of(["a"] * 4), [-score for score in SCORES]) == [0, 2, 3, 1]


def test_equal_scores_keep_their_order(request_of):
    assert best_first(request_of(["a"] * 4), [0.5, 0.7, 0.5, 0.7]) == [1, 3, 0, 2]


@pytest.mark.parametrize(
    ("prompts", "order"), [("aabb", [1, 0, 3, 2]), ("abab", [2, 1, 0, 3]), ("abcd", [0, 1, 2, 3])]
)
def test_each_prompt_keeps_its_places(request_of, prompts, order):
    assert best_first(request_of(prompts), SCORES) == order


def test_one_picture_serves_all(request_of):
    assert best_first(request_of(["a"] * 4, shades(0.5)), SCORES) == [1, 3, 2, 0]


@pytest.mark.parametrize(
    ("values", "order"),
    [((0.1, 0.1, 0.9, 0.9), [1, 0, 3, 2]), ((0.1, 0.9, 0.1, 0.9), [2, 1, 0, 3])],
)
def test_pictures_under_one_prompt_are_ordered_apart(request_of, values, order):
    assert best_first(request_of(["a"] * 4, shades(*values)), SCORES) == order


def test_inverted_pictures_without_their_pixels_are_ordered_apart(request_of):
    clean = torch.tensor([1.0, 1.0, 2.0, 2.0])[:, None, None, None].expand(-1, 4, 8, 8)
    pivots = torch.stack([torch.zeros_like(clean), clean])
    path = Trajectory((500, -1), pivots, (), "test")
    assert best_first(request_of(["a"] * 4, trajectory=path), SCORES) == [1, 0, 3, 2]
    alone = Trajectory((500, -1), pivots[:, :1], (), "test")
    assert best_first(request_of(["a"] * 4, trajectory=alone), SCORES) == [1, 3, 2, 0]


def test_there_is_a_score_for_each_image(request_of):
    with pytest.raises(InvalidRequestError, match="3 scores for 4 images"):
        best_first(request_of(["a"] * 4), SCORES[:3])


def test_tries_are_those_of_one_prompt_and_picture(request_of):
    assert groups(request_of("aabb", shades(0.1, 0.9, 0.1, 0.1))) == [[0], [1], [2, 3]]
