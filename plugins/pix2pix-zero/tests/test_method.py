"""The clean variant against its formula, and the rules of every method."""

import pytest
import torch
from underpaint import Pipeline
from underpaint.engine import UNetCall
from underpaint.errors import InvalidRequestError, NotOfferedError, UnknownWordError
from underpaint.testing import (
    EditSession,
    ToyEngine,
    assert_identity_at_zero_strength,
    check_plugin,
    toy_pipeline,
)
from underpaint_pix2pix_zero import Pix2PixZero
from underpaint_pix2pix_zero.checks import usual_guidance

PROMPT = "a cat on grass"
PICTURE = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(5))


def edit(**given):
    return Pix2PixZero.model_validate({"source_word": "cat", "target_word": "dog", **given})


@pytest.mark.parametrize("quirks", [False, True])
def test_it_keeps_the_rules(quirks):
    report = check_plugin(edit(official_quirks=quirks, attention_guidance=0.5), prompt=PROMPT)
    assert report.change > 1e-3


def test_strength_zero_without_and_with_guidance_changes_nothing():
    assert_identity_at_zero_strength(edit(strength=0.0, attention_guidance=0.0), prompt=PROMPT)
    result = EditSession(prompt=PROMPT)(edit(strength=0.0))
    assert (result.images[0] - result.branches["reference"][0]).abs().max() < 1e-4


def test_without_guidance_it_is_the_other_prompt():
    session = EditSession()
    result = session(edit(attention_guidance=0.0), prompt=PROMPT)
    assert torch.allclose(result.images[0], session(prompt="a dog on grass").images[0], atol=1e-4)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_latent_goes_down_the_maps_difference(prediction_type):
    session = EditSession(toy_pipeline(prediction_type=prediction_type))
    prompts = [PROMPT, "a red cat"]
    trace = session.trace(edit(attention_guidance=0.5), prompt=prompts, seed=[1, 2])
    engine = session.pipeline.engine
    sites = {site.name: "all" for site in engine.info.sites.of_kind("cross")}
    contexts = {
        "main": engine.encode_text(engine.tokenize(["a dog on grass", "a red dog"])),
        "reference": engine.encode_text(engine.tokenize(prompts)),
    }
    for step, prediction in zip(trace.steps, trace.predictions, strict=True):

        def maps(branch, latents, step=step):
            time = torch.full((2,), step.move.t)
            return engine.unet(UNetCall(latents, time, contexts[branch], maps=sites)).maps

        main, reference = (step.layout.trajectories_of(b) for b in contexts)
        latents = step.latents[main].clone().requires_grad_()
        known = maps("reference", step.latents[reference])
        with torch.enable_grad():
            distance = sum(
                (value - known[name]).square().sum((2, 3)).mean(1).sum()
                for name, value in maps("main", latents).items()
            )
        (gradient,) = torch.autograd.grad(distance, latents)
        assert torch.allclose(prediction.sample[main], latents - 0.5 * gradient, atol=1e-5)
        assert torch.equal(prediction.sample[reference], step.latents[reference])
        assert gradient.abs().max() > 1e-4


@pytest.mark.parametrize("quirks", [False, True])
def test_images_do_not_mix(quirks):
    session = EditSession(prompt=PROMPT)
    one = edit(official_quirks=quirks, attention_guidance=0.5)
    both = session(one, prompt=[PROMPT, "a red cat"], seed=[3, 4])
    alone = session(one, prompt="a red cat", seed=4).images[0]
    assert torch.allclose(both.images[1], alone, atol=1e-4)


def test_the_mean_of_templates_is_another_direction():
    session = EditSession(prompt=PROMPT)
    swapped = session(edit()).images[0]
    same = session(edit(templates=("a ... on grass",))).images[0]
    assert torch.allclose(same, swapped, atol=1e-4)
    other = session(edit(templates=("a red ...", "... in the blue"))).images[0]
    assert (other - swapped).abs().max() > 1e-3


def test_a_real_picture_is_inverted_with_regularisation_and_followed(tiny_model):
    session = EditSession(Pipeline.from_pretrained(tiny_model), prompt=PROMPT)
    call = {"image": PICTURE, "num_inference_steps": 2}
    result = session(edit(), **call)
    assert result.trajectory.made_by == "ddim-inversion+regularised-inversion"
    plain = session(edit(regularise=False), **call)
    assert plain.trajectory.made_by == "ddim-inversion"
    assert (plain.trajectory.pivots[0] - result.trajectory.pivots[0]).abs().max() > 1e-3
    clean = session.pipeline.engine.decode_latents(result.trajectory.at(-1)).clamp(0, 1)
    assert (result.branches["reference"][0] - clean[0]).abs().max() < 1e-4


# The toy engine's output has a deviation of 19: no noise, and regularising it diverges.
def test_the_negative_prompt_of_a_real_picture_is_what_it_shows():
    session = EditSession(prompt=PROMPT)
    given, other = {"regularise": False}, {"image": PICTURE, "negative_prompt": "a red dog"}
    auto = session(edit(**given), image=PICTURE).images[0]
    assert torch.equal(auto, session(edit(negative="source", **given), image=PICTURE).images[0])
    own = session(edit(**given), **other).images[0]
    assert torch.equal(own, session(edit(negative="call", **given), **other).images[0])
    assert (auto - own).abs().max() > 1e-3


def test_official_quirks_edit_a_real_picture_that_is_not_followed():
    session = EditSession(prompt=PROMPT)
    quirks = edit(official_quirks=True, regularise=False)
    with pytest.raises(InvalidRequestError, match="follow=False"):
        session(quirks, image=PICTURE)
    result = session(quirks, image=PICTURE, follow=False)
    assert (result.images[0] - result.branches["reference"][0]).abs().max() > 1e-3


def test_a_v_prediction_model_is_guided_less():
    kinds = {"epsilon": 0.1, "v_prediction": 0.01}
    for kind, expected in kinds.items():
        assert usual_guidance(toy_pipeline(prediction_type=kind).engine.info) == expected


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({}, InvalidRequestError, "there is no direction"),
        ({"source_word": "cat"}, InvalidRequestError, "there is no direction"),
        ({"direction": "a", "source_word": "cat"}, InvalidRequestError, "not both"),
        ({"direction": "none.safetensors"}, InvalidRequestError, "no direction that can be read"),
        ({"source_word": "bus", "target_word": "car"}, UnknownWordError, "'bus' does not stand"),
    ],
)
def test_what_cannot_be_used_is_said(given, error, said):
    with pytest.raises(error, match=said):
        EditSession(prompt=PROMPT)(Pix2PixZero.model_validate(given))


def test_an_engine_without_gradients_hands_the_call_on_and_says_so():
    class NoGradients(ToyEngine):
        name = "plain"

        def check(self, needs, size):
            if needs.gradient:
                raise NotOfferedError("The plain engine has no gradients.")
            super().check(needs, size)

        def fallback(self):
            return ToyEngine()

    result = EditSession(Pipeline(NoGradients()), prompt=PROMPT)(edit())
    expected = EditSession(prompt=PROMPT)(edit())
    assert torch.equal(result.images[0], expected.images[0])
    assert any("no gradients" in warning and "toy" in warning for warning in result.warnings)
