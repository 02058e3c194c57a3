from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from underpaint.engine import UNetOutput

WRT = ("sample", "context", "hidden_delta")


@pytest.fixture
def reading_call(engine, make_call, make_edits):
    sites = engine.info.sites
    names = [site.name for site in sites.select(sites.words())]
    return make_call(
        engine,
        edits=make_edits(engine),
        maps={names[0]: "mean", names[-1]: "all"},
        features=frozenset({"mid_block", "up_blocks.1.resnets.1"}),
    )


def random_like(output, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(value):
        return torch.randn(value.shape, generator=generator)

    return UNetOutput(
        draw(output.noise),
        {name: draw(value) for name, value in output.maps.items()},
        {name: draw(value) for name, value in output.features.items()},
    )


def inner(output, cotangent):
    total = (output.noise * cotangent.noise).double().sum()
    for part in ("maps", "features"):
        for name, value in getattr(cotangent, part).items():
            total = total + (getattr(output, part)[name] * value).double().sum()
    return total


def point_of(engine, call, wrt):
    """Return the call with an explicit value to differentiate at."""
    if wrt != "hidden_delta":
        return call
    site = next(s for s in engine.info.sites.all if s.name == "mid_block")
    side = call.sample.shape[-1] // 2**site.level
    delta = torch.randn(len(call.sample), site.channels, side, side)
    return replace(call, hidden_delta=delta)


@pytest.mark.parametrize("wrt", ["sample", "context"])
def test_pullback_equals_autograd_through_diffusers(kind, engine, checkpoint, make_call, wrt):
    unet = UNet2DConditionModel.from_pretrained(
        checkpoint(kind) / "unet", low_cpu_mem_usage=False
    ).requires_grad_(False)
    call = make_call(engine)
    leaf = getattr(call, wrt).clone().requires_grad_()
    at = replace(call, **{wrt: leaf})
    noise = unet(at.sample, at.timestep, at.context).sample
    cotangent = torch.randn(noise.shape)
    (expected,) = torch.autograd.grad(noise, leaf, cotangent)
    output, pullback = engine.linearize(call, wrt)
    torch.testing.assert_close(output.noise, noise.detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(pullback(UNetOutput(cotangent)), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("wrt", WRT)
def test_gradient_of_everything_equals_finite_differences(engine, reading_call, wrt):
    call = point_of(engine, reading_call, wrt)
    output, pullback = engine.linearize(call, wrt)
    cotangent = random_like(output)
    gradient = pullback(cotangent)
    assert gradient.shape == getattr(call, wrt).shape
    assert gradient.dtype == torch.float32
    # Along the gradient the derivative is its squared length: the steepest, so the least noisy.
    direction, step = gradient / gradient.norm(), 0.02

    def value(distance):
        moved = getattr(call, wrt) + distance * direction
        return inner(engine.predict(replace(call, **{wrt: moved})), cotangent)

    slope = (8 * (value(step) - value(-step)) - (value(2 * step) - value(-2 * step))) / (12 * step)
    assert float(slope) == pytest.approx(float(gradient.norm()), rel=5e-3)


def test_without_edits_rows_do_not_mix(sd1, make_call):
    output, pullback = sd1.linearize(make_call(sd1), "sample")
    cotangent = torch.zeros_like(output.noise)
    cotangent[1] = 1
    gradient = pullback(UNetOutput(cotangent))
    assert gradient[1].abs().max() > 0
    assert gradient[[0, 2]].abs().max() == 0


def test_an_edit_carries_the_gradient_to_its_source_row(sd1, make_call, make_edits):
    edits = replace(make_edits(sd1), source_row=torch.tensor([0, 0, 2]))
    output, pullback = sd1.linearize(make_call(sd1, edits=edits), "sample")
    cotangent = torch.zeros_like(output.noise)
    cotangent[1] = 1
    gradient = pullback(UNetOutput(cotangent))
    assert gradient[0].abs().max() > 0
    assert gradient[2].abs().max() == 0


def test_pullback_is_linear_and_can_be_called_again(engine, reading_call):
    output, pullback = engine.linearize(reading_call, "sample")
    cotangent = random_like(output)
    double = UNetOutput(
        2 * cotangent.noise,
        {name: 2 * value for name, value in cotangent.maps.items()},
        {name: 2 * value for name, value in cotangent.features.items()},
    )
    once = pullback(cotangent)
    assert torch.equal(once, pullback(cotangent))
    torch.testing.assert_close(pullback(double), 2 * once)
    only_noise = pullback(UNetOutput(cotangent.noise))
    only_maps = pullback(UNetOutput(torch.zeros_like(output.noise), cotangent.maps))
    only_features = pullback(
        UNetOutput(torch.zeros_like(output.noise), features=cotangent.features)
    )
    torch.testing.assert_close(only_noise + only_maps + only_features, once, atol=1e-4, rtol=1e-4)


def test_linearize_returns_what_predict_returns_without_a_graph(engine, reading_call):
    output, _ = engine.linearize(reading_call, "context")
    expected = engine.predict(reading_call)
    torch.testing.assert_close(output.noise, expected.noise, atol=1e-6, rtol=1e-6)
    for given in (output.noise, *output.maps.values(), *output.features.values()):
        assert not given.requires_grad
    for name, value in expected.maps.items():
        torch.testing.assert_close(output.maps[name], value)


def test_what_runs_before_the_mid_block_gives_its_delta_no_gradient(sd1, make_call):
    name = sd1.info.sites.of_kind("cross")[0].name
    call = make_call(sd1, maps={name: "mean"}, features=frozenset({"mid_block"}))
    output, pullback = sd1.linearize(call, "hidden_delta")
    none = UNetOutput(torch.zeros_like(output.noise), output.maps, output.features)
    assert pullback(none).abs().max() == 0
    assert pullback(UNetOutput(output.noise)).abs().max() > 0


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_are_offered_inside_no_grad_and_inference_mode(sd1, make_call, make_edits, mode):
    _, plain = sd1.linearize(make_call(sd1, edits=make_edits(sd1)), "sample")
    ones = UNetOutput(torch.ones(3, 4, 16, 16))
    with mode():
        call = make_call(sd1, edits=make_edits(sd1))
        _, pullback = sd1.linearize(call, "sample")
        gradient = pullback(UNetOutput(torch.ones(3, 4, 16, 16)))
    assert torch.equal(gradient, plain(ones))


def test_the_outputs_are_the_callers_to_change(engine, reading_call):
    output, pullback = engine.linearize(reading_call, "sample")
    cotangent = random_like(output)
    expected = pullback(cotangent)
    for value in (output.noise, *output.maps.values(), *output.features.values()):
        value.mul_(2)
    assert torch.equal(pullback(cotangent), expected)


def test_pullback_works_in_another_thread(sd1, make_call):
    output, pullback = sd1.linearize(make_call(sd1), "sample")
    with ThreadPoolExecutor(1) as pool:
        gradient = pool.submit(pullback, output).result()
    assert torch.equal(gradient, pullback(output))


def test_outputs_of_predict_can_join_a_graph_of_the_caller(sd1, make_call):
    output = sd1.predict(make_call(sd1))
    assert not output.noise.requires_grad
    weight = torch.ones(4, requires_grad=True)
    (output.noise * weight.view(1, 4, 1, 1)).sum().backward()
    torch.testing.assert_close(weight.grad, output.noise.sum((0, 2, 3)))


def test_the_weights_are_frozen(sd1, make_call):
    _, pullback = sd1.linearize(make_call(sd1), "sample")
    pullback(UNetOutput(torch.ones(3, 4, 16, 16)))
    parameters = list(sd1._unet.parameters())
    assert not any(p.requires_grad or p.grad is not None for p in parameters)
