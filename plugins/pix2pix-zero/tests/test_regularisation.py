"""The closed forms of both losses' gradients against autograd."""

import pytest
import torch
import torch.nn.functional as F
from underpaint.errors import NonFiniteError
from underpaint.testing import toy_pipeline
from underpaint_pix2pix_zero import RegularisedInversion
from underpaint_pix2pix_zero.regularisation import (
    correlation_gradient,
    divergence_gradient,
    pyramid_levels,
    regularise,
)

WHITE = {"divergence": 0.0, "correlation": 0.0}


def draw(*shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64) * 1.3 + 0.2


def pair_loss(noise, shifts):
    total = 0.0
    for image, own in zip(noise, shifts, strict=True):
        for channel, rolls in zip(image, own, strict=True):
            values = channel[None, None]
            for level, shift in enumerate(rolls.tolist()):
                values = F.avg_pool2d(values, 2) if level else values
                for axis in (2, 3):
                    total = total + (values * values.roll(shift, axis)).mean() ** 2
    return total


@pytest.mark.parametrize(("height", "width", "levels"), [(32, 32, 3), (16, 24, 2), (8, 8, 1)])
def test_the_correlation_gradient(height, width, levels):
    assert pyramid_levels(height, width) == levels
    noise = draw(2, 4, height, width).requires_grad_()
    largest = min(height, width) // 2**levels
    shifts = torch.randint(1, largest, (2, 4, levels))
    with torch.enable_grad():
        loss = pair_loss(noise, shifts)
    (expected,) = torch.autograd.grad(loss, noise)
    assert torch.allclose(correlation_gradient(noise.detach(), shifts), expected, atol=1e-14)
    assert expected.abs().max() > 1e-7


def test_the_divergence_gradient_is_that_of_each_image():
    noise = draw(3, 4, 8, 8).requires_grad_()
    with torch.enable_grad():
        variance, mean = noise.flatten(1).var(1), noise.flatten(1).mean(1)
        loss = (variance + mean**2 - 1 - torch.log(variance + 1e-7)).sum()
    (expected,) = torch.autograd.grad(loss, noise)
    assert torch.allclose(divergence_gradient(noise.detach()), expected, atol=1e-14)
    assert expected.abs().max() > 1e-5


def test_correlated_noise_becomes_whiter():
    noise = F.avg_pool2d(draw(1, 4, 34, 34), 3, 1) * 3
    shifts = [[torch.full((1, 4, 3), 1)] * 5] * 5
    after = regularise(noise, shifts, 20.0, 20.0)
    assert pair_loss(after, shifts[0][0]) < pair_loss(noise, shifts[0][0])


def test_an_inversion_without_weights_is_the_plain_one_and_images_do_not_mix():
    pipe = toy_pipeline()
    pictures = [torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(n)) for n in (0, 1)]
    call = {"num_inference_steps": 4, "cache": False}
    plain = pipe.invert(pictures, "a cat", **call).pivots
    nothing = RegularisedInversion.model_validate(WHITE)
    assert torch.allclose(pipe.invert(pictures, "a cat", edits=[nothing], **call).pivots, plain)
    # The toy engine's output has a deviation of 19, not 1, and the gradient is of its cube.
    edit = RegularisedInversion(correlation=0.01)
    both = pipe.invert(pictures, "a cat", edits=[edit], **call).pivots
    assert (both - plain).abs().max() > 1e-3
    alone = pipe.invert(pictures[1], "a cat", edits=[edit], **call).pivots
    assert torch.allclose(both[:, 1:], alone, atol=1e-4)


def test_noise_that_runs_away_is_refused_at_its_step_with_a_way_out():
    picture = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    message = r"regularised-inversion: the noise of step \d+ .* ran away.*variance.*repetitions=0"
    with pytest.raises(NonFiniteError, match=message):
        toy_pipeline().invert(
            picture, "a cat", edits=[RegularisedInversion()], num_inference_steps=4, cache=False
        )
