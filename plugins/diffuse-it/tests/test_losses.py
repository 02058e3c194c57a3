"""The losses against the paper's formulas, written out with loops."""

from __future__ import annotations

import math

import pytest
import torch
from underpaint_diffuse_it import losses


def keys(seed):
    return torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(seed))


def cosine(a, b):
    return float(a @ b / (a.norm() * b.norm()))


@pytest.mark.parametrize("seed", [0, 5])
def test_structure_is_the_mean_square_of_all_pairs(seed):
    a, b = keys(seed), keys(seed + 1)
    got = losses.structure(a, b)
    for image in range(2):
        pairs = [(i, j) for i in range(5) for j in range(5)]
        own = [cosine(a[image, i], a[image, j]) for i, j in pairs]
        others = [cosine(b[image, i], b[image, j]) for i, j in pairs]
        expected = sum((x - y) ** 2 for x, y in zip(own, others, strict=True)) / 25
        assert float(got[image]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_contrast_is_infonce_over_the_places_of_the_source(temperature):
    a, b = keys(2), keys(3)
    got = losses.contrast(a, b, temperature)
    for image in range(2):
        total = 0.0
        for i in range(5):
            weights = [math.exp(cosine(a[image, i], b[image, j]) / temperature) for j in range(5)]
            total -= math.log(weights[i] / sum(weights)) / 5
        assert float(got[image]) == pytest.approx(total, rel=1e-4)


def test_the_same_keys_have_no_structure_loss_and_the_least_contrast():
    a = keys(0)
    assert losses.structure(a, a).abs().max() < 1e-10
    shuffled = a[:, [1, 2, 3, 4, 0]]
    assert (losses.contrast(a, a, 0.07) < losses.contrast(shuffled, a, 0.07)).all()


def test_structure_does_not_see_the_scale_of_keys():
    a, b = keys(0), keys(1)
    torch.testing.assert_close(losses.structure(3 * a, b), losses.structure(a, b))


def test_the_direction_of_the_text():
    target, source, image = (keys(seed)[:, 0] for seed in (0, 1, 2))
    got = losses.text_direction(target, source, image)
    mixed = target - 0.4 * source + 0.2 * image
    torch.testing.assert_close(got, mixed / mixed.norm(dim=-1, keepdim=True))
    plain = losses.text_direction(target, None, image)
    assert not torch.allclose(plain, got, atol=0.01)


def test_towards_takes_the_mean_of_the_views():
    features = torch.randn(3, 2, 6, generator=torch.Generator().manual_seed(1))
    direction = keys(4)[:, 0]
    expected = [-cosine(features[:, i].mean(0), direction[i]) for i in range(2)]
    assert losses.towards(features, direction).tolist() == pytest.approx(expected, rel=1e-4)


def test_only_what_is_out_of_range_counts():
    images = torch.full((2, 3, 2, 2), 0.5)
    images[1, 0, 0, 0] = 1.5  # 2 in [-1, 1] terms: one beyond
    assert losses.out_of_range(images).tolist() == pytest.approx([0, 1 / 12])


def test_apart_is_a_mean_square():
    a, b = keys(0), keys(1)
    torch.testing.assert_close(losses.apart(a, b), ((a - b) ** 2).reshape(2, -1).mean(1))
