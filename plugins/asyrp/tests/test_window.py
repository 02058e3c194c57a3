"""t_edit and t_boost: curves along the inversion, and where they first cross."""

from dataclasses import replace

import pytest
import torch
from underpaint import Pipeline
from underpaint.errors import NotOfferedError
from underpaint.testing import EditSession, ToyEngine
from underpaint_asyrp.window import Curves, Thresholds, measure_curves

CURVES = Curves((1, 250, 500, 750), (0.0, 0.4, 0.3, 0.8), (0.1, 1.0, 1.25, 1.3))
LPIPS = Thresholds(0.33, 1.2, relative=False)


def test_the_first_crossing_counts():
    assert CURVES.t_edit(LPIPS) == 250
    assert CURVES.t_boost(LPIPS) == 500
    assert CURVES.t_edit() == 250
    assert CURVES.t_boost() == 250
    assert CURVES.t_edit(Thresholds(0.9)) == 750
    assert CURVES.t_edit(Thresholds(9.0, relative=False)) == 750


def test_texts_that_are_less_alike_are_edited_longer():
    less = Curves(CURVES.levels, (0.0, 0.3, 0.35, 0.8), CURVES.noised, likeness=0.9)
    same = Curves(less.levels, less.predicted, less.noised)
    assert (less.t_edit(LPIPS), same.t_edit(LPIPS)) == (250, 500)


PICTUREBOOK = Curves(  # of eight renders on grass, by picturebook's CLIP
    levels=(101, 201, 251, 301, 401, 501, 601, 701, 801, 901),
    predicted=(0.025, 0.084, 0.145, 0.245, 0.569, 1.032, 1.707, 2.556, 3.583, 4.773),
    noised=(0.110, 0.463, 0.770, 1.172, 2.279, 3.351, 4.182, 4.881, 5.383, 5.739),
)


def test_the_default_parts_cross_at_the_noise_levels_of_the_papers_models():
    """alphas_cumprod 0.20 is t = 563 of Stable Diffusion's schedule, 0.71 is t = 228."""
    assert (PICTUREBOOK.t_edit(), PICTUREBOOK.t_boost()) == (601, 251)


@pytest.mark.parametrize("likeness", [1.0, 0.29])
def test_the_default_parts_leave_room_for_three_phases(likeness):
    curves = replace(PICTUREBOOK, likeness=likeness)
    assert curves.t_boost() < curves.t_edit()


def mean_square(first, second):
    return (first - second).square().mean((1, 2, 3))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_curves_are_measured_along_the_inversion(seed):
    pictures = list(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed)))
    pipe, prompt = Pipeline(ToyEngine()), "a cat on grass"
    curves = measure_curves(pipe, pictures, prompt, distance=mean_square, num_inference_steps=5)
    path = pipe.invert(pictures, prompt, num_inference_steps=5, cache=False)
    assert curves.levels == path.levels[-2:0:-1]
    clean = pipe.engine.decode_latents(path.pivots[-1])
    for level, value in zip(curves.levels, curves.noised, strict=True):
        noised = pipe.engine.decode_latents(path.at(level))
        assert value == pytest.approx(float(mean_square(clean, noised).mean()), rel=1e-4)
    assert 0 < curves.predicted[0] < curves.predicted[-1]


def test_without_a_scorer_a_distance_must_be_given():
    with pytest.raises(NotOfferedError, match="scorer"):
        measure_curves(EditSession().pipeline, [torch.rand(3, 32, 32)], "a cat")
