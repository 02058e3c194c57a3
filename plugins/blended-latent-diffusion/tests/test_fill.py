"""See-through parts go on with the colours around them."""

import torch
from underpaint_blended_latent_diffusion.fill import fill_see_through


def laid_on_white(colours, opacity):
    return colours * opacity + (1 - opacity)


def test_one_colour_goes_on_under_any_opacity():
    colour = torch.tensor([0.2, 0.5, 0.7])[:, None, None].expand(1, 3, 24, 20)
    opacity = torch.rand(1, 1, 24, 20, generator=torch.Generator().manual_seed(0))
    opacity[..., 5:15, 5:15] = 0
    filled = fill_see_through(laid_on_white(colour, opacity), opacity)
    torch.testing.assert_close(filled, colour, atol=1e-4, rtol=0)


def test_opaque_pixels_stay_to_the_bit_and_others_take_the_nearer_colour():
    colours = torch.zeros(1, 3, 32, 32)
    colours[..., 16:] = 0.75  # dark to the left, bright to the right
    opacity = torch.ones(1, 1, 32, 32)
    opacity[..., 8:24, 4:28] = 0
    laid = laid_on_white(colours, opacity)
    filled = fill_see_through(laid, opacity)
    assert torch.equal(filled[..., :8, :], laid[..., :8, :])
    assert float(filled[..., 14, 5].max()) < 0.2
    assert float(filled[..., 14, 26].min()) > 0.55
    assert torch.equal(fill_see_through(laid, torch.ones(1, 1, 32, 32)), laid)


def test_a_picture_without_any_opaque_pixel_is_finite():
    filled = fill_see_through(torch.ones(1, 3, 8, 8), torch.zeros(1, 1, 8, 8))
    assert torch.isfinite(filled).all()
