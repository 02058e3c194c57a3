"""The loop's arithmetic against diffusers where that is right, and right where it is not."""

import pytest
import torch
from diffusers import DDIMScheduler
from underpaint.schedule import (
    NoiseSchedule,
    add_noise,
    ddim_step,
    output_coefficients,
    renoise,
    sigma,
    x0_from_noise,
)

CONFIG = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
    "clip_sample": False,
    "steps_offset": 1,
}
SHAPE = (2, 4, 8, 8)


def draw(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(SHAPE, generator=generator, dtype=torch.float64)


def network(sample, t):
    return torch.tanh(sample.roll(1, -1) + t / 500) + 0.5 * sample


def our_loop(schedule, steps, eta, noises):
    latents = draw(0)
    for index, move in enumerate(schedule.moves(steps)):
        alpha, next_alpha = schedule.alpha(move.t), schedule.alpha(move.next_t)
        out, direct = output_coefficients(alpha, schedule.prediction_type)
        noise = out * network(latents, move.t) + direct * latents
        x0 = x0_from_noise(latents, noise, alpha)
        std = sigma(alpha, next_alpha, eta)
        latents = ddim_step(x0, noise, next_alpha, std, noises[index] if eta else None)
    return latents


def their_loop(config, steps, eta, noises):
    scheduler = DDIMScheduler(**config)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.final_alpha_cumprod = scheduler.alphas_cumprod[0]
    scheduler.set_timesteps(steps)
    latents = draw(0)
    for index, t in enumerate(scheduler.timesteps.tolist()):
        latents = scheduler.step(
            network(latents, t), t, latents, eta, variance_noise=noises[index] if eta else None
        ).prev_sample
    return latents


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize(
    ("spacing", "steps"), [("leading", 20), ("leading", 30), ("trailing", 20), ("trailing", 50)]
)
def test_whole_loop_equals_diffusers(prediction, eta, spacing, steps):
    config = {**CONFIG, "prediction_type": prediction, "timestep_spacing": spacing}
    noises = [draw(i + 1) for i in range(steps)]
    ours = our_loop(NoiseSchedule.from_config(config), steps, eta, noises)
    theirs = their_loop(config, steps, eta, noises)
    assert (ours - theirs).abs().max() < 1e-6 * theirs.abs().max().clamp(min=1)


@pytest.mark.parametrize("spacing", ["trailing", "linspace"])
def test_right_where_diffusers_guesses_the_previous_timestep(spacing):
    """A perfect model must end on its image; with N=30 diffusers' steps do not connect."""
    config = {**CONFIG, "timestep_spacing": spacing, "set_alpha_to_one": True}
    schedule, clean = NoiseSchedule.from_config(config), draw(5)
    latents = add_noise(clean, draw(6), schedule.alpha(schedule.moves(30)[0].t))
    theirs, scheduler = latents, DDIMScheduler(**config)
    scheduler.set_timesteps(30)

    def perfect(sample, t):
        alpha = schedule.alpha(t)
        return (sample - alpha**0.5 * clean) / (1 - alpha) ** 0.5

    for move in schedule.moves(30):
        noise = perfect(latents, move.t)
        x0 = x0_from_noise(latents, noise, schedule.alpha(move.t))
        latents = ddim_step(x0, noise, schedule.alpha(move.next_t))
    assert (latents - clean).abs().max() < 1e-9
    levels = [m.next_t for m in schedule.moves(30)]
    guesses = [t - 1000 // 30 for t in scheduler.timesteps.tolist()]
    assert levels[:-1] != guesses[:-1]
    assert theirs is not latents


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_inversion_round_trip_with_a_perfect_model(spacing):
    schedule = NoiseSchedule.from_config({**CONFIG, "timestep_spacing": spacing})
    clean, noise = draw(1), draw(2)
    moves = schedule.moves(25)
    latents = add_noise(clean, noise, schedule.final_alpha)
    for move in reversed(moves):  # from next_t up to t
        x0 = x0_from_noise(latents, noise, schedule.alpha(move.next_t))
        latents = ddim_step(x0, noise, schedule.alpha(move.t))
    assert torch.allclose(latents, add_noise(clean, noise, schedule.alpha(moves[0].t)))
    for move in moves:
        x0 = x0_from_noise(latents, noise, schedule.alpha(move.t))
        latents = ddim_step(x0, noise, schedule.alpha(move.next_t))
    assert torch.allclose(latents, add_noise(clean, noise, schedule.final_alpha), atol=1e-9)


def test_renoise_of_a_noised_image_is_noised_to_the_new_level():
    """Two independent noises of variance 1-a and (1-r) add up to 1-a' (arXiv 2010.02502)."""
    alpha, next_alpha = 0.5, 0.2
    kept = renoise(torch.tensor(alpha**0.5), torch.tensor(0.0), alpha, next_alpha)
    fresh = renoise(torch.tensor(0.0), torch.tensor(1.0), alpha, next_alpha)
    old = renoise(torch.tensor((1 - alpha) ** 0.5), torch.tensor(0.0), alpha, next_alpha)
    assert kept**2 == pytest.approx(next_alpha, rel=1e-6)
    assert old**2 + fresh**2 == pytest.approx(1 - next_alpha, rel=1e-6)


def test_sigma_of_eta_one_is_ddpm_posterior_std():
    alpha, next_alpha = 0.4, 0.6
    beta = 1 - alpha / next_alpha
    assert sigma(alpha, next_alpha, 1.0) ** 2 == pytest.approx(
        beta * (1 - next_alpha) / (1 - alpha), rel=1e-9
    )
    assert sigma(alpha, next_alpha, 0.0) == 0
