"""Papers that edit the list of moves: strength, resampling, boosting, inversion."""

from dataclasses import replace

import pytest
import torch
from underpaint import Move, hookimpl, schedule
from underpaint.testing import toy_pipeline

TIMES = [m.t for m in toy_pipeline().engine.info.noise.moves(4)]


class Resampling:
    """DiffuseIT (arXiv 2209.15264): the first level is repeated, with noise put back each time."""

    @hookimpl(wrapper=True)
    def schedule(self):
        first, *rest = yield
        back = Move(first.next_t, first.t, kind="renoise")
        return (first, back, first, back, first, *rest)


class Strength:
    """SDEdit: start from a noised image, part of the way down."""

    def __init__(self, clean):
        self.clean = clean

    @hookimpl(wrapper=True)
    def schedule(self):
        return (yield)[2:]

    @hookimpl
    def initial_latents(self, run):
        alpha = run.alpha(run.moves[0].t)
        return schedule.add_noise(self.clean, run.randn("start"), alpha)


class Boosting:
    """Asyrp's quality boosting (arXiv 2210.10960): stochastic steps at the end alone."""

    @hookimpl(wrapper=True)
    def schedule(self):
        moves = yield
        return tuple(replace(m, eta=1.0) if m.t < 500 else m for m in moves)


class Inversion:
    """DDIM inversion: the moves backwards, from the clean latent up."""

    def __init__(self, clean):
        self.clean = clean

    @hookimpl(wrapper=True)
    def schedule(self):
        moves = yield
        return tuple(Move(m.next_t, m.t, kind="invert") for m in reversed(moves))

    @hookimpl
    def initial_latents(self):
        return self.clean


def test_a_repeated_first_step_goes_back_up_with_fresh_noise_each_time(edit_session, make_method):
    trace = edit_session.trace(make_method(Resampling))
    kinds = [step.move.kind for step in trace.steps]
    assert kinds == ["denoise", "renoise", "denoise", "renoise"] + ["denoise"] * 4
    assert len(trace.predictions) == 6
    for index in (1, 3):
        step = trace.steps[index]
        fresh = step.run.randn("renoise", index)
        expected = schedule.renoise(step.latents, fresh, step.alpha, step.next_alpha)
        assert torch.equal(trace.latents[index], expected)
        assert torch.equal(trace.steps[index + 1].latents, expected)
    assert not torch.equal(trace.latents[1], trace.latents[3])
    assert len(trace.result.timings.steps) == 8


def test_starting_part_of_the_way(edit_session, make_method):
    clean = torch.rand(1, 4, 8, 8)
    trace = edit_session.trace(make_method(lambda: Strength(clean)))
    assert [step.move.t for step in trace.steps] == TIMES[2:]
    first = trace.steps[0]
    expected = schedule.add_noise(clean, first.run.randn("start"), first.alpha)
    assert torch.equal(first.latents, expected)


def test_boosting_draws_noise_in_the_last_steps_alone(edit_session, make_method):
    plain, boosted = edit_session.trace(), edit_session.trace(make_method(Boosting))
    differ = [not torch.equal(a, b) for a, b in zip(plain.latents, boosted.latents, strict=True)]
    assert differ == [not t >= 500 for t in TIMES]
    step, prediction = boosted.steps[2], boosted.predictions[2]
    std = schedule.sigma(step.alpha, step.next_alpha, 1.0)
    fresh = step.run.randn("advance", 2)
    expected = schedule.ddim_step(prediction.x0, prediction.noise, step.next_alpha, std, fresh)
    assert torch.allclose(boosted.latents[2], expected)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_inversion_asks_the_noisier_end_and_returns_to_the_image(
    edit_session, make_method, prediction_type
):
    session = replace(edit_session, pipeline=toy_pipeline(prediction_type=prediction_type))
    call = {"guidance_scale": 1.0, "num_inference_steps": 100, "output_type": "latent"}
    clean = session(**call).latents
    inverted = session.trace(make_method(lambda: Inversion(clean)), **call)
    moves = session.pipeline.engine.info.noise.moves(100)
    assert [s.move.timestep for s in inverted.steps] == [m.t for m in reversed(moves)]
    back = session(latents=inverted.result.latents, **call).latents
    assert (back - clean).abs().max() < 0.1 * clean.abs().max()
