"""The mean distance of pictures, and what LPIPS needs."""

import pytest
import torch
from underpaint import Pipeline
from underpaint.testing import ToyEngine

from benchmarks.diversity import diversity, load_distances
from benchmarks.picturebench.metrics_paper import SQUEEZENET, MissingWeightsError


def mean_difference(first, second):
    return (first - second).abs().flatten(1).mean(1)


def test_it_is_the_mean_over_all_pairs():
    grey = torch.tensor([0.0, 0.5, 0.9])[:, None, None, None].expand(3, 3, 8, 8)
    assert diversity(grey, mean_difference) == pytest.approx((0.5 + 0.9 + 0.4) / 3)


@pytest.mark.parametrize("count", [0, 1])
def test_it_needs_two_pictures(count):
    assert diversity(torch.zeros(count, 3, 8, 8), mean_difference) is None


def test_an_incomplete_folder_is_refused_by_name(tmp_path):
    with pytest.raises(MissingWeightsError, match=SQUEEZENET):
        load_distances(Pipeline(ToyEngine()), tmp_path)
