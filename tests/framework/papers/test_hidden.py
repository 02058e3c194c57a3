"""Asyrp (arXiv 2210.10960): two UNet evaluations in one step, only x0 is shifted."""

from dataclasses import replace

import pytest
import torch
from underpaint import Needs, hookimpl, schedule
from underpaint.errors import PluginError
from underpaint.testing import EditSession, toy_pipeline


class Asyrp:
    """``x_p = sqrt(a_p) P(e~) + D(e)``, with e~ from a shifted mid block of the cond rows."""

    def __init__(self):
        self.shifts = []

    @hookimpl
    def needs(self):
        return Needs(hidden_delta=True)

    @hookimpl(wrapper=True)
    def predict(self, step):
        prediction = yield
        cond = step.layout.rows_of("main", "cond")
        delta = torch.zeros(len(step.layout.rows), 8, 4, 4)
        delta[cond] = 0.5
        noise = step.combine(step.evaluate(hidden_delta=delta))
        self.shifts.append(noise - prediction.noise)
        return replace(prediction, x0=prediction.with_noise(noise).x0)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_step_is_the_closed_form(make_method, prediction_type):
    session, asyrp = EditSession(toy_pipeline(prediction_type=prediction_type)), Asyrp()
    trace = session.trace(make_method(lambda: asyrp))
    for step, prediction, latents, shift in zip(
        trace.steps, trace.predictions, trace.latents, asyrp.shifts[-4:], strict=True
    ):
        plain = prediction.with_noise(prediction.noise)
        ddim = schedule.ddim_step(plain.x0, plain.noise, step.next_alpha)
        alpha, next_alpha = step.alpha, step.next_alpha
        expected = ddim - (next_alpha * (1 - alpha) / alpha) ** 0.5 * shift
        assert torch.allclose(latents, expected, atol=1e-4)
        assert shift.abs().max() > 1e-3
    if prediction_type == "v_prediction":
        # sqrt((1-a)/a) (e~ - e) = sqrt(1-a) (v~ - v), as e = sqrt(a) v + sqrt(1-a) x
        v_shift = shift / alpha**0.5
        expected = ddim - (next_alpha * (1 - alpha)) ** 0.5 * v_shift
        assert torch.allclose(latents, expected, atol=1e-4)


def test_a_direction_by_gradient(make_method):
    """The pullback onto the hidden delta points where the output grows."""
    from underpaint.outputs import Cotangents

    grown = []

    class Climbs:
        @hookimpl
        def needs(self):
            return Needs(hidden_delta=True, gradient=frozenset({"hidden_delta"}))

        @hookimpl
        def before_step(self, step):
            outputs, pullback = step.linearize(wrt="hidden_delta")
            gradient = pullback(Cotangents(noise=torch.ones_like(outputs.noise)))
            moved = step.evaluate(hidden_delta=1e-2 * gradient)
            grown.append(float((moved.noise - outputs.noise).sum()))

    EditSession()(make_method(Climbs))
    assert min(grown) > 0


def test_a_delta_that_needs_did_not_announce_is_an_error(make_method):
    class Undeclared(Asyrp):
        @hookimpl
        def needs(self):
            return Needs()

    with pytest.raises(PluginError, match=r"Needs\(hidden_delta=True\)"):
        EditSession()(make_method(Undeclared))


def test_combining_again_heeds_other_edits(make_method):
    """Another edit's idea of guidance holds in the second evaluation too."""
    combined = []

    class CountsGuidance:
        @hookimpl(wrapper=True)
        def combine(self, step):
            combined.append(step.index)
            return (yield)

    EditSession()(make_method(CountsGuidance), make_method(Asyrp))
    assert combined == sorted(2 * list(dict.fromkeys(combined)))
