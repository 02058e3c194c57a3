"""Energies: Self-Guidance into the noise, Pix2Pix-Zero into the latents, literally recomputed."""

import pytest
import torch
from underpaint import Branch, Guidance, Needs, Tap, hookimpl, schedule
from underpaint.engine import UNetCall
from underpaint.errors import PluginError
from underpaint.sites import SiteSelector
from underpaint.testing import EditSession, toy_pipeline

CROSS = SiteSelector("cross")
PREDICTIONS = ["epsilon", "v_prediction"]


class Energetic:
    """Taps every kind of reading; its energy looks at all of them."""

    def __init__(self, into="noise", scale=0.7):
        self.into, self.scale = into, scale

    @hookimpl
    def needs(self):
        taps = (Tap(CROSS, "all"), Tap(SiteSelector("activation")))
        return Needs(taps, gradient=frozenset({"sample"}))

    @hookimpl
    def guidance(self):
        return [Guidance(energy, self.scale, self.into)]


def energy(seen):
    rows = seen.maps.layout.rows_of("main", "cond")
    maps = sum(value[rows][..., 2].square().sum((1, 2)) for value in seen.maps.values.values())
    features = seen.features["mid_block"][rows].square().mean((1, 2, 3))
    return (
        0.1 * maps + features + 0.01 * seen.x0.square().mean((1, 2, 3)) + seen.noise.mean((1, 2, 3))
    )


def literal(step, latents, guidance_scale):
    """Recompute a step with plain autograd through the toy UNet: noise, energy per image."""
    run, engine = step.run, step.run.engine
    contexts = [run.conditioning.at("main", half, step.index) for half in ("uncond", "cond")]
    output = engine.unet(
        UNetCall(
            sample=torch.cat([latents, latents]),
            timestep=torch.full((2 * len(latents),), step.move.t),
            context=torch.cat(contexts),
            maps={s.name: "all" for s in engine.info.sites.of_kind("cross")},
            features=frozenset({"mid_block"}),
        )
    )
    kind = engine.info.noise.prediction_type
    out, direct = schedule.output_coefficients(step.alpha, kind)
    rows = out * output.noise + direct * torch.cat([latents, latents])
    uncond, cond = rows.chunk(2)
    noise = uncond + guidance_scale * (cond - uncond)
    x0 = schedule.x0_from_noise(latents, noise, step.alpha)
    images = slice(len(latents), None)
    value = 0.1 * sum(m[images][..., 2].square().sum((1, 2)) for m in output.maps.values())
    value = value + output.features["mid_block"][images].square().mean((1, 2, 3))
    value = value + 0.01 * x0.square().mean((1, 2, 3)) + noise.mean((1, 2, 3))
    return noise, value


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_into_noise_adds_the_scaled_gradient(make_method, prediction_type):
    """Self-Guidance (arXiv 2306.00986, eq. 3)."""
    session = EditSession(toy_pipeline(prediction_type=prediction_type))
    call = {"prompt": ["a dog", "a red cat"], "seed": [1, 2], "num_inference_steps": 3}
    trace = session.trace(make_method(Energetic), **call)
    for step, prediction in zip(trace.steps, trace.predictions, strict=True):
        latents = step.latents.clone().requires_grad_()
        with torch.enable_grad():
            noise, value = literal(step, latents, 4.0)
        (gradient,) = torch.autograd.grad(value.sum(), latents)
        expected = noise + 0.7 * (1 - step.alpha) ** 0.5 * gradient
        assert torch.allclose(prediction.noise, expected, atol=1e-4, rtol=1e-4)
        x0 = schedule.x0_from_noise(step.latents, prediction.noise, step.alpha)
        assert torch.allclose(prediction.x0, x0, rtol=1e-4, atol=1e-4)
        assert gradient.abs().max() > 1e-4


@pytest.mark.parametrize("prediction_type", PREDICTIONS)
def test_into_latents_moves_and_predicts_again_there(make_method, prediction_type):
    """Pix2Pix-Zero (arXiv 2302.03027, algorithm 1), the shared latent."""
    session = EditSession(toy_pipeline(prediction_type=prediction_type))
    trace = session.trace(make_method(lambda: Energetic("latents", 0.1)), num_inference_steps=3)
    for step, prediction in zip(trace.steps, trace.predictions, strict=True):
        latents = step.latents.clone().requires_grad_()
        with torch.enable_grad():
            _, value = literal(step, latents, 4.0)
        moved = step.latents - 0.1 * torch.autograd.grad(value.sum(), latents)[0]
        assert torch.allclose(prediction.sample, moved, atol=1e-5)
        noise, _ = literal(step, moved, 4.0)
        assert torch.allclose(prediction.noise, noise, atol=1e-4, rtol=1e-4)
        expected = schedule.ddim_step(prediction.x0, prediction.noise, step.next_alpha)
        assert torch.equal(trace.latents[step.index], expected)


class PixToPixZero:
    """The official variant: each half's latent moves by its own gradient, steps from uncond's."""

    @hookimpl
    def needs(self):
        return Needs((Tap(CROSS, "all"),), gradient=frozenset({"sample"}))

    @hookimpl
    def branches(self):
        return [Branch("reference", "a photo of a cat")]

    @hookimpl(wrapper=True)
    def predict(self, step):
        from underpaint.outputs import Cotangents

        prediction = yield
        outputs, pullback = step.linearize()
        seen = outputs.maps
        cotangents = {}
        for site, value in seen.values.items():
            gradient = torch.zeros_like(value)
            for half in ("uncond", "cond"):
                main = seen.layout.rows_of("main", half)
                reference = seen.layout.rows_of("reference", half)
                gradient[main] = 2 * (value[main] - value[reference])
            cotangents[site.name] = gradient
        moved = outputs.sample[seen.layout.trajectory_of_row] - 0.01 * pullback(
            Cotangents(maps=cotangents)
        )
        halves = {}
        for half in ("uncond", "cond"):
            sample = step.latents.clone()
            rows = seen.layout.rows_of("main", half)
            sample[seen.layout.trajectories_of("main")] = moved[rows]
            again = step.evaluate(sample=sample, branches=["main"], halves=[half])
            halves[half] = (sample, again.of("main", half))
        start, uncond = halves["uncond"]
        noise = prediction.noise.clone()
        noise[seen.layout.trajectories_of("main")] = uncond + 4.0 * (halves["cond"][1] - uncond)
        from dataclasses import replace

        return replace(prediction, sample=start).with_noise(noise)


def test_the_official_variant_fits_a_wrap_of_predict(make_method):
    session = EditSession()
    with_edit = session(make_method(PixToPixZero), prompt="a photo of a dog")
    plain = session(prompt="a photo of a dog")
    reference = session(prompt="a photo of a cat")
    assert torch.allclose(with_edit.branches["reference"][0], reference.images[0], atol=1e-4)
    assert (with_edit.images[0] - plain.images[0]).abs().max() > 1e-3


def test_pullback_of_a_step_equals_finite_differences_row_by_row(make_method):
    from underpaint.outputs import Cotangents

    errors = []

    class Probes(Energetic):
        @hookimpl
        def guidance(self):
            return None

        @hookimpl
        def before_step(self, step):
            if step.index != 1:
                return
            outputs, pullback = step.linearize()
            weights = torch.randn_like(outputs.noise)
            gradient = pullback(Cotangents(noise=weights))
            assert gradient.shape == outputs.noise.shape
            direction = torch.randn_like(step.latents)
            ahead = step.evaluate(sample=step.latents + 1e-2 * direction).noise
            behind = step.evaluate(sample=step.latents - 1e-2 * direction).noise
            by_row = ((ahead - behind) / 2e-2 * weights).sum((1, 2, 3))
            mine = (gradient * direction[outputs.layout.trajectory_of_row]).sum((1, 2, 3))
            errors.append(((by_row - mine).abs() / by_row.abs().clamp(min=1)).max())

    for kind in PREDICTIONS:
        EditSession(toy_pipeline(prediction_type=kind))(
            make_method(Probes), prompt=["a dog", "a cat"]
        )
    assert len(errors) == 2
    assert max(errors) < 1e-2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda seen: seen.x0.sum(), r"An energy returned shape \(\). Return one"),
        (lambda seen: seen.x0.detach().sum((1, 2, 3)), r"without a gradient"),
    ],
)
def test_an_energy_of_a_wrong_shape_is_an_error(edit_session, make_method, wrong, message):
    class Wrong(Energetic):
        @hookimpl
        def guidance(self):
            return [Guidance(wrong)]

    with pytest.raises(PluginError, match=message):
        edit_session(make_method(Wrong))


def test_several_energies_take_one_pullback_per_destination(edit_session, make_method):
    calls = []

    class Engine(type(edit_session.pipeline.engine)):
        def predict(self, call):
            calls.append("predict")
            return super().predict(call)

        def linearize(self, call, wrt):
            calls.append("linearize")
            return super().linearize(call, wrt)

    edits = [make_method(lambda i=into: Energetic(i), into) for into in ("noise", "latents") * 2]
    EditSession(type(edit_session.pipeline)(Engine()))(*edits, num_inference_steps=1)
    assert calls == ["linearize", "linearize"]
