"""Inversion: against DDIM written out, its refinement, its schedule, what is kept of it."""

import pytest
import torch
from underpaint import CancelToken, Move, hookimpl
from underpaint import trajectory_cache as kept
from underpaint.engine import UNetCall
from underpaint.errors import (
    CancelledError,
)
from underpaint.schedule import ddim_step, output_coefficients, x0_from_noise
from underpaint.testing import ToyEngine, greatest_difference, toy_pipeline

from tests.framework.pictures import PROMPT, eight_bit, picture


def literal_inversion(engine, clean, prompt, steps):
    """DDIM inversion, written out: epsilon at the next timestep with the current latent."""
    noise = engine.info.noise
    context = engine.encode_text(engine.tokenize([prompt]))
    latents, pivots = clean, [clean]
    times = [move.t for move in noise.moves(steps)][::-1]
    for before, after in zip([-1, *times], times, strict=False):
        raw = engine.predict(UNetCall(latents, torch.tensor([after]), context)).noise
        out, direct = output_coefficients(noise.alpha(before), noise.prediction_type)
        epsilon = out * raw + direct * latents
        x0 = x0_from_noise(latents, epsilon, noise.alpha(before))
        latents = ddim_step(x0, epsilon, noise.alpha(after))
        pivots.append(latents)
    return pivots[::-1]


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("seed", [0, 1])
def test_inversion_equals_ddim_s_written_out(prediction_type, seed):
    pipe = toy_pipeline(prediction_type=prediction_type)
    path = pipe.invert(picture(seed), PROMPT, num_inference_steps=5)
    clean = pipe.engine.encode_image(torch.from_numpy(eight_bit(picture(seed)))[None])
    expected = literal_inversion(pipe.engine, clean, PROMPT, 5)
    assert path.levels == (*(m.t for m in pipe.engine.info.noise.moves(5)), -1)
    assert torch.allclose(path.pivots, torch.stack(expected), atol=1e-5)


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_refinements_make_a_denoising_retrace_the_path(prediction_type):
    """The exact solution of a move's equation is retraced: the error falls to rounding."""
    pipe = toy_pipeline(prediction_type=prediction_type)
    errors = []
    for refinements in (0, 3, 30):
        path = pipe.invert(picture(), PROMPT, num_inference_steps=50, refinements=refinements)
        back = pipe(
            PROMPT,
            trajectory=path,
            guidance_scale=1.0,
            num_inference_steps=50,
            output_type="latent",
        )
        errors.append(greatest_difference(back.latents, path.at(-1)))
    assert errors[1] < errors[0] / 2
    assert errors[2] < 1e-4


@pytest.mark.parametrize(
    "change",
    [
        {"image": picture(1)},
        {"prompt": "a dog"},
        {"num_inference_steps": 5},
        {"timestep_spacing": "trailing"},
        {"refinements": 1},
        {"guidance_scale": 2.0},
    ],
)
def test_whatever_changes_the_path_is_part_of_the_key(calls, change):
    pipe = toy_pipeline()
    call = {"image": picture(), "prompt": PROMPT, "num_inference_steps": 4}
    pipe.invert(**call)
    calls.clear()
    pipe.invert(**call)
    assert calls == []
    pipe.invert(**{**call, **change})
    assert calls


def test_a_kept_path_that_was_changed_is_made_again(calls):
    pipe = toy_pipeline()
    first = pipe.invert(picture(), PROMPT, num_inference_steps=2)
    newest = max(kept.files(), key=lambda path: path.stat().st_mtime)
    content = bytearray(newest.read_bytes())
    content[-3] ^= 1
    newest.write_bytes(content)
    calls.clear()
    again = pipe.invert(picture(), PROMPT, num_inference_steps=2)
    assert calls
    assert torch.equal(first.pivots, again.pivots)


def test_the_least_recently_used_paths_go_first(monkeypatch):
    pipe = toy_pipeline()
    pipe.invert(picture(2), PROMPT, num_inference_steps=2)
    size = max(path.stat().st_size for path in kept.files())
    monkeypatch.setattr(kept, "LIMIT_BYTES", size)
    pipe.invert(picture(3), PROMPT, num_inference_steps=2)
    assert len(list(kept.files())) == 1


def test_edits_take_part_in_an_inversion(make_method):
    class Halves:
        @hookimpl(wrapper=True)
        def predict(self):
            prediction = yield
            return prediction.with_noise(prediction.noise / 2)

    pipe = toy_pipeline()
    path = pipe.invert(picture(), PROMPT, num_inference_steps=3, edits=[make_method(Halves)])
    plain = pipe.invert(picture(), PROMPT, num_inference_steps=3)
    assert not torch.allclose(path.pivots, plain.pivots, atol=1e-3)
    assert path.made_by.startswith("ddim-inversion+")


def test_an_inversion_can_be_cancelled():
    cancel = CancelToken()
    with pytest.raises(CancelledError):
        toy_pipeline().invert(
            picture(),
            PROMPT,
            num_inference_steps=4,
            cache=False,
            cancel=cancel,
            callback_on_step_end=lambda *_: cancel.cancel(),
        )


def test_moves_ascend_and_the_model_is_told_the_noisier_level(monkeypatch):
    told = []
    predict = ToyEngine.predict

    def spy(self, call):
        told.append(int(call.timestep[0]))
        return predict(self, call)

    monkeypatch.setattr(ToyEngine, "predict", spy)
    pipe = toy_pipeline()
    pipe.invert(picture(), PROMPT, num_inference_steps=3, cache=False)
    assert told == [move.t for move in pipe.engine.info.noise.moves(3)][::-1]
    assert Move(-1, 1, kind="invert").timestep == 1
