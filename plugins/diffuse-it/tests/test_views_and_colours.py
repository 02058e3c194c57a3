"""Augmented views keyed by seed, and the linear map between colours."""

from __future__ import annotations

import math

import torch
from underpaint_diffuse_it.colours import match_colours
from underpaint_diffuse_it.views import apply_views, place_views


def image(seed=0):
    return torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_the_whole_image_unturned_is_itself_and_its_mirror():
    whole = torch.tensor([[[0.5, 1.0, 0.5, 0.5, side]] for side in (1.0, 0.0)])  # [2, 1, 5]
    plain, mirrored = apply_views(image(), place_views(whole))
    torch.testing.assert_close(plain, image()[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(mirrored, image()[0].flip(-1), atol=1e-5, rtol=0)


def test_a_view_is_at_least_four_fifths_of_the_area_and_inside():
    chances = torch.rand(50, 1, 5, generator=torch.Generator().manual_seed(0))
    maps = place_views(chances)
    areas = maps[..., :2].det().abs()
    assert (areas >= 0.8 - 1e-6).all()
    assert (areas <= 1 + 1e-6).all()
    angles = torch.atan2(maps[..., 1, 0].abs(), maps[..., 1, 1])
    assert angles.max() <= math.radians(10) + 1e-6
    assert angles.max() > math.radians(8)
    straight = chances.clone()
    straight[..., 0] = 0.5
    corners = place_views(straight)
    reach = corners[..., :2].abs().sum(-1) + corners[..., 2].abs()
    assert reach.max() <= 1 + 1e-5


def test_views_have_a_gradient():
    leaf = image().requires_grad_()
    chances = torch.rand(2, 1, 5, generator=torch.Generator().manual_seed(3))
    (gradient,) = torch.autograd.grad(apply_views(leaf, place_views(chances)).square().sum(), leaf)
    assert (gradient != 0).float().mean() > 0.7


def test_colours_get_the_mean_and_covariance_of_the_others():
    own = 0.3 + 0.2 * image(1).expand(2, -1, -1, -1) * torch.tensor([1.0, 0.5])[:, None, None, None]
    style = 0.35 + 0.3 * torch.einsum(
        "ij,bjhw->bihw", torch.tensor([[1, 0.5, 0], [0, 1, 0], [0.2, 0, 0.5]]), image(2)
    )
    moved = match_colours(own, style)
    for one in moved:
        torch.testing.assert_close(one.mean((1, 2)), style[0].mean((1, 2)), atol=0.01, rtol=0)
        torch.testing.assert_close(
            torch.cov(one.flatten(1)), torch.cov(style[0].flatten(1)), atol=1e-3, rtol=0
        )


def test_a_picture_has_its_own_colours_already():
    own = 0.1 + 0.8 * image(1)
    torch.testing.assert_close(match_colours(own, own), own, atol=1e-4, rtol=0)


def test_a_picture_of_one_colour_takes_the_mean():
    flat = torch.full((1, 3, 8, 8), 0.5)
    moved = match_colours(flat, image(2))
    torch.testing.assert_close(moved.mean((0, 2, 3)), image(2).mean((0, 2, 3)), atol=1e-4, rtol=0)
