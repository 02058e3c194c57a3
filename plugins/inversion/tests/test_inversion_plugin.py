"""Negative-prompt inversion and ProxEdit, against what their papers say, written out."""

import numpy as np
import pytest
import torch
from underpaint.cache_folder import FOLDER_VARIABLE
from underpaint.errors import InvalidRequestError
from underpaint.testing import (
    EditSession,
    assert_clean_cancel,
    assert_deterministic,
    assert_identity_at_zero_strength,
    greatest_difference,
)
from underpaint_inversion import InversionGuidance, NegativePromptInversion, ProxEdit
from underpaint_inversion.negative_prompt import slerp
from underpaint_inversion.proxedit import ProxEditRun
from underpaint_prompt_to_prompt import PromptToPrompt

SOURCE, TARGET = "a cat on grass", "a dog on grass"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def session():
    return EditSession(prompt=TARGET)


def path(session, seed=0, steps=4):
    picture = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return session.pipeline.invert(picture, SOURCE, num_inference_steps=steps)


def swap():
    return PromptToPrompt(source=SOURCE)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_source_is_denoised_as_if_there_was_no_guidance(session, seed):
    """Its two predictions are equal, so the scale has nothing to scale."""
    trajectory = path(session, seed)
    edits = [swap(), NegativePromptInversion()]
    guided = session(*edits, trajectory=trajectory, follow=False, guidance_scale=7.5)
    plain = session(prompt=SOURCE, trajectory=trajectory, guidance_scale=1.0)
    assert greatest_difference(guided.branches["source"], plain.images) < 1e-4


def test_at_zero_the_negative_prompt_stays(session):
    trajectory = path(session)
    assert_identity_at_zero_strength(
        NegativePromptInversion(interpolation=0), session.pipeline, TARGET, trajectory=trajectory
    )


def test_slerp_keeps_the_length_and_takes_equal_angles():
    start = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8]])
    end = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8]])
    middle = slerp(start, end, 0.5)
    assert torch.allclose(middle.norm(dim=-1), torch.ones(3), atol=1e-5)
    assert torch.allclose(middle[0], torch.tensor([0.5**0.5, 0.5**0.5]), atol=1e-6)
    assert torch.allclose(middle[1:], start[1:], atol=1e-6)
    assert slerp(start, end, 1.0) is end


def literal_prox(differences, prox, quantile):
    """Per image, value by value."""
    result = np.zeros_like(differences)
    for image, values in enumerate(differences):
        threshold = np.quantile(np.abs(values), quantile)
        for place, value in np.ndenumerate(values):
            if abs(value) > threshold:
                shrink = np.sign(value) * threshold if prox == "l1" else 0
                result[(image, *place)] = value - shrink
    return result


@pytest.mark.parametrize("prox", ["l0", "l1"])
@pytest.mark.parametrize("seed", [0, 1])
def test_guidance_is_the_proximal_one_written_out(session, prox, seed):
    edit = ProxEdit(prox=prox, quantile=0.6)
    trace = session.trace(
        swap(), edit, trajectory=path(session, seed), prompt=[TARGET, "a fish on grass"]
    )
    for prediction in trace.predictions:
        outputs = prediction.outputs
        uncond, cond = (outputs.of("main", half).numpy() for half in ("uncond", "cond"))
        expected = uncond + 4.0 * literal_prox(cond - uncond, prox, 0.6)
        main = trace.steps[0].layout.trajectories_of("main")
        assert np.allclose(prediction.noise[main].numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("prox", ["l0", "l1"])
def test_at_quantile_zero_it_is_negative_prompt_inversion(session, prox):
    trajectory = path(session)
    kept = session(ProxEdit(quantile=0, prox=prox), trajectory=trajectory)
    negative = session(NegativePromptInversion(), trajectory=trajectory)
    assert greatest_difference(kept.images, negative.images) < 1e-4


def test_the_quirks_threshold_all_branches_together_and_shrink_once_more(session):
    trajectory = path(session)
    for prox, times in (("l0", 1), ("l1", 2)):
        edit = ProxEdit(prox=prox, quantile=0.7, official_quirks=True)
        trace = session.trace(swap(), edit, trajectory=trajectory)
        outputs = trace.predictions[0].outputs
        difference = outputs.of("main", "cond") - outputs.of("main", "uncond")
        both = torch.cat([difference, torch.zeros_like(difference)])
        threshold = torch.quantile(both.abs(), 0.7)
        shrunk = difference
        for _ in range(times):
            shrunk = shrunk - shrunk.clamp(-threshold, threshold)
        expected = outputs.of("main", "uncond") + 4.0 * shrunk
        main = trace.steps[0].layout.trajectories_of("main")
        assert torch.allclose(trace.predictions[0].noise[main], expected, atol=1e-5)


def test_inversion_guidance_puts_what_is_not_edited_on_the_path(session, monkeypatch):
    trajectory = path(session)
    masks = []
    advance = ProxEditRun.advance

    def spy(self, step):
        masks.append(dict(self.edited))
        return (yield from advance(self, step))

    for name in ("underpaint_impl",):
        setattr(spy, name, getattr(advance, name))
    monkeypatch.setattr(ProxEditRun, "advance", spy)
    guidance = InversionGuidance(start=0.5, radius=0)
    edit = ProxEdit(quantile=0.97, inversion_guidance=guidance)
    trace = session.trace(edit, trajectory=trajectory)
    drawn = [step.progress >= 0.5 for step in trace.steps]
    assert drawn == [False, False, True, True]
    for step, latents, mask, on in zip(trace.steps, trace.latents, masks, drawn, strict=True):
        pivot = trajectory.at(step.move.next_t)
        outside = ~mask["main"].expand_as(latents)
        assert outside.any()
        assert not outside.all()
        on_the_path = torch.isclose(latents, pivot, atol=1e-6)
        assert bool(on_the_path[outside].all()) == on
        assert not on_the_path[~outside].all()


def test_a_call_without_a_picture_says_what_to_pass(session):
    for edit in (NegativePromptInversion(), ProxEdit()):
        with pytest.raises(InvalidRequestError, match=r"pass image=\.\.\., or trajectory="):
            session(edit)


def test_both_keep_the_rules_of_a_method(session):
    trajectory = path(session)
    for edit in (NegativePromptInversion(), ProxEdit(inversion_guidance=InversionGuidance())):
        assert_deterministic(edit, session.pipeline, TARGET, trajectory=trajectory)
        assert_clean_cancel(edit, session.pipeline, TARGET, trajectory=trajectory)


def test_parameters_have_bounds():
    for bad in ({"quantile": 1.0}, {"quantile": -0.1}, {"prox": "l2"}, {"interpolation": 2}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            ProxEdit(**bad)
