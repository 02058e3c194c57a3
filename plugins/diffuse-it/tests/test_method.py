"""The hooks against the paper's steps, recomputed with plain autograd."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from underpaint import hookimpl, schedule
from underpaint.engine import UNetCall
from underpaint.method import Method
from underpaint.pipeline import Pipeline
from underpaint.registration import check_plugin as check_hooks
from underpaint.testing import (
    ToyEngine,
    assert_clean_cancel,
    assert_deterministic,
    greatest_difference,
)
from underpaint_diffuse_it import DiffuseIt, losses

FREE = 1e9
"""A limit that binds nowhere."""


def epsilon(step, sample):
    """Return guided epsilon at latents, differentiable, from the toy UNet itself."""
    run = step.run
    contexts = [run.conditioning.at("main", half, step.index) for half in ("uncond", "cond")]
    call = UNetCall(
        sample=torch.cat([sample, sample]),
        timestep=torch.full((2 * len(sample),), step.move.t),
        context=torch.cat(contexts),
    )
    uncond, cond = run.engine.unet(call).noise.chunk(2)
    return uncond + run.request.guidance_scale * (cond - uncond)


def energy(edit, scorer, step, latents, seen):
    """Return the weighted losses of one step, and its [CLS]; `seen` holds the constants."""
    sample, x0 = latents
    f = math.sqrt(1 - step.alpha)
    images = step.run.engine.decode_latents(f * x0 + (1 - f) * sample)
    keys, cls = scorer.vit_features(images)
    total = edit.structure * losses.structure(keys, seen["keys"])
    total = total + edit.contrast * losses.contrast(keys, seen["keys"], edit.temperature)
    total = total + edit.bounds * losses.out_of_range(images)
    start = 1 - (step.run.moves[0].t + 1) / 1000
    way = ((1000 - (step.move.t + 1)) / 1000 - start) / (1 - start)
    if seen.get("cls") is not None and way < edit.diverge_until:
        total = total - edit.divergence * (cls - seen["cls"]).square().mean(1)
    if "look" in seen:
        total = total + edit.style * (cls - seen["style"]).square().mean(1)
        total = total + edit.pixels * (images - seen["look"]).square().mean((1, 2, 3))
    else:
        total = total - edit.text * (scorer.image_features(images) * seen["text"]).sum(-1)
    return total, cls.detach()


def gradient(edit, scorer, step, seen):
    """Return the gradient of a step's losses at its latents; remembers [CLS]."""
    with torch.enable_grad():
        sample = step.latents.clone().requires_grad_()
        noise = epsilon(step, sample)
        if edit.gradient == "cheap":
            noise = noise.detach()
        x0 = (sample - math.sqrt(1 - step.alpha) * noise) / math.sqrt(step.alpha)
        total, seen["cls"] = energy(edit, scorer, step, (sample, x0), seen)
    return torch.autograd.grad(total.sum(), sample)[0], noise.detach()


def denoised(trace):
    """Return each denoising step with its prediction."""
    steps = [step for step in trace.steps if step.move.kind == "denoise"]
    return list(zip(steps, trace.predictions, strict=True))


def constants(scorer, call, source, prompts):
    picture = call["image"][None]
    mixed = scorer.text_features(prompts) + 0.2 * scorer.image_features(picture)
    if source:
        mixed = mixed - 0.4 * scorer.text_features([source])
    return {
        "keys": scorer.vit_features(picture)[0],
        "text": mixed / mixed.norm(dim=-1, keepdim=True),
    }


@pytest.mark.parametrize("kind", ["cheap", "full"])
@pytest.mark.parametrize("mode", ["text", "style"])
def test_epsilon_moves_by_the_gradient_of_the_losses(
    session, scorer, make_picture, style_file, kind, mode
):
    edit = DiffuseIt(
        gradient=kind,
        source="a cat",
        style_image=style_file if mode == "style" else None,
        limit=FREE,
        scale=3.0,
        repeats=2,
        pixels=1.5,
        diverge_until=0.3,
    )
    prompts = ["a dog on grass", "a red bus"]
    trace = session.trace(edit, prompt=prompts, seed=[1, 2])
    seen = constants(scorer, session.call, "a cat", prompts)
    if mode == "style":
        seen["look"] = make_picture(9)[None]
        seen["style"] = scorer.vit_features(seen["look"])[1]
    for step, prediction in denoised(trace):
        wanted, noise = gradient(edit, scorer, step, seen)
        moved = noise + 3.0 * math.sqrt(1 - step.alpha) * wanted
        torch.testing.assert_close(prediction.noise, moved, atol=1e-4, rtol=1e-4)
        x0 = schedule.x0_from_noise(step.latents, moved, step.alpha)
        torch.testing.assert_close(prediction.x0, x0, atol=1e-4, rtol=1e-4)
        assert wanted.abs().max() > 1e-4


def test_full_and_cheap_differ_by_the_path_through_the_unet(session):
    images = [
        session(DiffuseIt(gradient=kind, scale=20, limit=FREE)).images for kind in ("full", "cheap")
    ]
    assert greatest_difference(*images) > 1e-3


def test_the_cheap_gradient_asks_the_engine_for_none(scorer, session):
    class Forward(ToyEngine):
        def check(self, needs, size):
            assert not needs.gradient

        def linearize(self, call, wrt):
            pytest.fail("a pullback was asked for")

    cheap = replace(session, pipeline=Pipeline(Forward(), scorer))
    result = cheap(DiffuseIt(gradient="cheap", scale=50))
    assert not result.warnings
    assert greatest_difference(result.images, session(DiffuseIt(scale=0)).images) > 1e-3


def test_it_starts_from_the_noised_picture(session):
    trace = session.trace(DiffuseIt(strength=0.5, scale=0))
    first = trace.steps[0]
    assert [step.move.t for step in trace.steps] == [376, 251, 126, 1]
    clean = session.pipeline.engine.encode_image(session.call["image"][None])
    fresh = torch.randn(first.latents.shape[1:], generator=torch.Generator().manual_seed(7))
    expected = schedule.add_noise(clean, fresh[None], first.alpha)
    torch.testing.assert_close(first.latents, expected)


def test_it_starts_from_the_inverted_picture(session):
    edit = DiffuseIt(strength=0.5, scale=0, noise="inverted")
    path = session.pipeline.invert(session.call["image"], session.prompt, num_inference_steps=8)
    start = session.trace(edit).steps[0].latents
    torch.testing.assert_close(start, path.at(376), atol=1e-5, rtol=1e-4)


def test_the_first_step_is_repeated_from_fresh_noise(session):
    trace = session.trace(DiffuseIt(strength=0.5, repeats=3, scale=5))
    kinds = [step.move.kind for step in trace.steps]
    assert kinds == ["denoise", "renoise", "denoise", "renoise", "denoise"] + ["denoise"] * 3
    again = trace.steps[1]
    fresh = again.run.randn("renoise", 1)
    expected = schedule.renoise(again.latents, fresh, again.alpha, again.next_alpha)
    assert torch.equal(trace.steps[2].latents, expected)
    assert not torch.equal(trace.steps[2].latents, trace.steps[4].latents)


@pytest.mark.parametrize("kind", ["cheap", "full"])
def test_the_effect_grows_smoothly_from_nothing(session, kind):
    plain = session(DiffuseIt(scale=0)).images
    changes = [
        greatest_difference(session(DiffuseIt(gradient=kind, scale=scale)).images, plain)
        for scale in (1e-4, 1e-3, 1e-2, 1.0)
    ]
    assert 0 < changes[0] < 1e-4
    assert changes[2] / changes[1] == pytest.approx(10, rel=0.1)  # 1e-4 is near fp32's rounding
    assert changes[2] < changes[3] < 1


def test_one_weight_of_1e_minus_4_changes_little(session):
    off = {"contrast": 0, "text": 0, "bounds": 0, "divergence": 0, "limit": FREE}
    plain = session(DiffuseIt(scale=0)).images
    small = session(DiffuseIt(structure=1e-4, **off)).images
    large = session(DiffuseIt(structure=1, **off)).images
    assert 0 < greatest_difference(small, plain) < 1e-2 * greatest_difference(large, plain)


def test_the_limit_bounds_what_the_latent_is_moved_by(session):
    limit = 0.01
    edit = DiffuseIt(gradient="cheap", scale=1e4, limit=limit)
    for step, prediction in denoised(session.trace(edit)):
        f, signal = math.sqrt(1 - step.alpha), math.sqrt(step.alpha)
        moved = (prediction.noise - step.combine(prediction.outputs)) / f
        bound = limit * (f / signal + 1 - f)
        assert moved.square().mean().sqrt() == pytest.approx(bound, rel=1e-3)


def test_the_pictures_features_are_computed_once_a_run(session, scorer):
    session(DiffuseIt(gradient="cheap"))
    steps = len(session.trace(DiffuseIt(scale=0)).predictions)
    assert scorer.looks == steps + 1


@pytest.mark.parametrize("weight", ["structure", "contrast", "text"])
def test_each_step_goes_down_its_loss(session, scorer, weight):
    """Of the picture that the step promises: the toy engine denoises to nothing real."""
    weights = {"structure": 0, "contrast": 0, "bounds": 0, "divergence": 0, "text": 0, weight: 1.0}
    edit = DiffuseIt(gradient="cheap", scale=1.0, **weights)
    for step, prediction in denoised(session.trace(edit)):
        seen = constants(scorer, session.call, "", [session.prompt])
        plain = prediction.with_noise(step.combine(prediction.outputs))
        after, before = (
            float(energy(edit, scorer, step, (step.latents, each.x0), seen)[0])
            for each in (prediction, plain)
        )
        assert after < before


@pytest.mark.parametrize("kind", ["cheap", "full"])
def test_the_image_comes_nearer_to_the_text(session, scorer, kind):
    words = scorer.text_features([session.prompt])
    edit = DiffuseIt(gradient=kind, structure=0, contrast=0, divergence=0, scale=0)

    def near(scale):
        images = session(edit.model_copy(update={"scale": scale})).images
        return float((scorer.image_features(torch.stack(images)) * words).sum())

    values = [near(scale) for scale in (0, 3, 30)]
    assert values[0] < values[1] < values[2] - 0.01


def test_views_are_keyed_by_seed_and_step_not_by_batch(session):
    edit = DiffuseIt(views=3, gradient="cheap", scale=50)
    plain = session(edit.model_copy(update={"views": 0})).images
    both = session(edit, prompt=["a dog", "a cat"], seed=[3, 4]).images
    alone = session(edit, prompt="a cat", seed=4).images
    assert greatest_difference(both[1:], alone) < 1e-4
    assert greatest_difference(session(edit).images, plain) > 1e-4


@pytest.mark.parametrize("kind", ["cheap", "full"])
def test_an_image_does_not_depend_on_the_others_of_its_call(session, scorer, kind):
    edit = DiffuseIt(gradient=kind, source="a cat", repeats=2)
    call = {"prompt": ["a dog", "a red bus"], "seed": [3, 4]}
    together = session(edit, **call).images
    small = replace(session, pipeline=Pipeline(ToyEngine(max_rows=2), scorer))
    assert greatest_difference(together, small(edit, **call).images) < 1e-4


def test_each_image_may_have_its_own_picture(session, make_picture):
    edit = DiffuseIt(gradient="cheap", scale=20)
    pictures = [make_picture(1), make_picture(2)]
    both = session(edit, prompt=["a dog", "a dog"], seed=[3, 3], image=pictures).images
    alone = session(edit, prompt="a dog", seed=3, image=pictures[1]).images
    assert greatest_difference(both[1:], alone) < 1e-4
    assert greatest_difference(both[:1], both[1:]) > 0.01


def test_the_style_pictures_colours(session, style_file, make_picture):
    edit = DiffuseIt(style_image=style_file, gradient="cheap")
    matched = session(edit).images[0]
    free = session(edit.model_copy(update={"match_colours": False})).images[0]
    style = make_picture(9).mean((1, 2))
    assert (matched.mean((1, 2)) - style).abs().max() < 0.03
    assert (free.mean((1, 2)) - style).abs().max() > 0.06


def test_other_branches_start_from_the_picture_and_are_not_guided(session, make_method):
    from underpaint import Branch

    class Beside:
        @hookimpl
        def branches(self):
            return [Branch("beside", None)]

    for kind in ("cheap", "full"):
        result = session(make_method(Beside), DiffuseIt(gradient=kind, scale=50))
        plain = session(DiffuseIt(scale=0)).images
        assert greatest_difference(result.branches["beside"], plain) < 1e-4
        assert greatest_difference(result.images, plain) > 1e-3


@pytest.fixture
def make_method():
    def make(begin):
        class Edit(Method):
            method = "test"

            def start(self):
                return begin()

        return Edit()

    return make


def test_it_keeps_the_rules_of_a_method(session, style_file):
    for edit in (DiffuseIt(repeats=2, views=2), DiffuseIt(style_image=style_file)):
        call = {"image": session.call["image"]}
        assert_deterministic(edit, session.pipeline, **call)
        assert_clean_cancel(edit, session.pipeline, **call)
        assert DiffuseIt.model_validate_json(edit.model_dump_json()) == edit
        assert check_hooks("diffuse-it", edit.start())
