"""The loop, against algorithm 1 written out over whole runs; what it keeps, and where it starts."""

from typing import ClassVar

import literal_blended as literal
import numpy as np
import pytest
import torch
from underpaint import Method, hookimpl
from underpaint.errors import InvalidRequestError
from underpaint.run import Run, seed_noise
from underpaint.testing import (
    EditSession,
    assert_clean_cancel,
    assert_deterministic,
    greatest_difference,
    toy_pipeline,
)
from underpaint_blended_latent_diffusion import BlendedLatentDiffusion
from underpaint_blended_latent_diffusion.grid import Masks, dilate
from underpaint_prompt_to_prompt import PromptToPrompt

BOX = (0.25, 0.125, 0.75, 0.5)
CELLS = np.zeros((8, 8))
CELLS[1:4, 2:6] = 1
STEPS = 8
MODES = ("fresh", "fixed", "inverted")


@pytest.fixture
def drawn(monkeypatch):
    """Keep the noise that runs draw at each step."""
    kept = {}
    randn = Run.randn

    def spy(self, key, step=0):
        kept[step] = randn(self, key, step)
        return kept[step]

    monkeypatch.setattr(Run, "randn", spy)
    return kept


def expected(pipe, image, prompt, edit, drawn, kernels):
    """Return the latents after every step, and the levels, as the paper says."""
    engine = pipe.engine
    clean = engine.encode_image(image[None])[0].numpy()
    levels = [move.t for move in engine.info.noise.moves(STEPS)] + [-1]
    levels = [t for t in levels if 1 - (t + 1) / 1000 >= 1 - edit.strength]
    alpha = engine.info.noise.alpha(levels[0])
    noise = seed_noise(7, (4, 8, 8)).numpy()
    start = np.sqrt(alpha) * clean + np.sqrt(1 - alpha) * noise
    path = None
    if edit.noise_mode == "inverted":
        path = pipe.invert(image, prompt, num_inference_steps=STEPS)
        start = path.at(levels[0])[0].numpy()

    def background(step, level, alpha):
        if path is not None:
            return path.at(level)[0].numpy()
        own = noise if edit.noise_mode == "fixed" else drawn[step][0].numpy()
        return np.sqrt(alpha) * clean + np.sqrt(1 - alpha) * own

    return literal.blended(
        engine, clean, CELLS, prompt, levels=levels, scale=4.0, start=start,
        background=background, kernels=kernels,
    )  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("mode", MODES)
def test_a_run_is_algorithm_1_written_out(session, picture, drawn, mode, seed):
    edit = BlendedLatentDiffusion(box=BOX, noise_mode=mode)
    trace = session.trace(edit, image=picture(seed), num_inference_steps=STEPS)
    wanted = expected(session.pipeline, picture(seed), session.prompt, edit, drawn, [1] * STEPS)
    assert len(trace.latents) == len(wanted) == STEPS
    for ours, theirs in zip(trace.latents, wanted, strict=True):
        assert np.abs(ours[0].numpy() - theirs).max() < 1e-4


@pytest.mark.parametrize(
    ("strength", "shrink", "kernels"),
    [
        (1.0, 3, [7, 7, 7, 5, 5, 5, 3, 1]),
        (0.5, 1, [3, 3, 3, 1]),
        (0.75, 0, [1] * 6),
    ],
)
def test_strength_and_shrinking_written_out(session, picture, drawn, strength, shrink, kernels):
    edit = BlendedLatentDiffusion(box=BOX, strength=strength, shrink=shrink)
    trace = session.trace(edit, image=picture(), num_inference_steps=STEPS)
    wanted = expected(session.pipeline, picture(), session.prompt, edit, drawn, kernels)
    assert len(trace.latents) == len(wanted) == len(kernels)
    for ours, theirs in zip(trace.latents, wanted, strict=True):
        assert np.abs(ours[0].numpy() - theirs).max() < 1e-4


@pytest.mark.parametrize("mode", MODES)
def test_outside_stands_the_background_and_at_the_end_the_picture_bit_for_bit(
    session, picture, mode
):
    edit = BlendedLatentDiffusion(box=BOX, noise_mode=mode)
    images = [picture(0), picture(1)]
    trace = session.trace(edit, image=images, prompt=["a dog", "a fish"])
    clean = session.pipeline.engine.encode_image(torch.stack(images))
    outside = torch.from_numpy(CELLS == 0).expand_as(clean)
    assert torch.equal(trace.latents[-1][outside], clean[outside])
    assert not torch.allclose(trace.latents[-1][~outside], clean[~outside], atol=1e-2)
    for step, latents in zip(trace.steps[:-1], trace.latents[:-1], strict=True):
        if mode == "inverted":
            assert torch.equal(
                latents[outside], trace.result.trajectory.at(step.move.next_t)[outside]
            )
            continue
        alpha = step.next_alpha
        noise = (latents - alpha**0.5 * clean)[outside] / (1 - alpha) ** 0.5
        assert abs(float(noise.mean())) < 0.2
        assert 0.8 < float(noise.std()) < 1.2


def test_fixed_noise_stays_and_fresh_noise_changes(session, picture):
    for mode, same in (("fixed", True), ("fresh", False)):
        edit = BlendedLatentDiffusion(box=BOX, noise_mode=mode)
        trace = session.trace(edit, image=picture())
        clean = session.pipeline.engine.encode_image(picture()[None])
        noises = [
            (latents - step.next_alpha**0.5 * clean)[..., 4:, :] / (1 - step.next_alpha) ** 0.5
            for step, latents in zip(trace.steps[:-1], trace.latents[:-1], strict=True)
        ]
        assert torch.allclose(noises[0], noises[1], atol=1e-3) == same


def test_fifty_steps_shrink_after_13_13_and_13(picture):
    pixels = torch.zeros(1, 1, 96, 96)
    pixels[..., 40:44, 40:44] = 1
    masks = Masks.of(pixels, 4, soft=False)
    sides = [int(masks.at(index, 50, 3).sum() ** 0.5) for index in range(50)]
    assert sides == [7] * 13 + [5] * 13 + [3] * 13 + [1] * 11
    assert [int(masks.at(index, 50, 0).sum()) for index in range(50)] == [1] * 50


@pytest.mark.parametrize("moves", range(1, 20))
@pytest.mark.parametrize("dilations", [0, 1, 3])
def test_masks_only_shrink_and_end_as_they_are(moves, dilations):
    pixels = torch.zeros(1, 1, 96, 96)
    pixels[..., 40:44, 40:44] = 1
    masks = Masks.of(pixels, 4, soft=False)
    sums = [float(masks.at(index, moves, dilations).sum()) for index in range(moves)]
    assert sums == sorted(sums, reverse=True)
    assert sums[-1] == 1


@pytest.mark.parametrize("side", [1, 3, 5, 7])
def test_dilation_cell_by_cell(side):
    mask = (torch.rand(1, 1, 9, 7, generator=torch.Generator().manual_seed(3)) > 0.9).float()
    assert np.array_equal(dilate(mask, side)[0, 0], literal.dilated(mask[0, 0].numpy(), side))


def test_little_strength_keeps_the_picture_and_none_is_refused(session, picture):
    def change(strength):
        edit = BlendedLatentDiffusion(box=BOX, strength=strength)
        result = session(edit, image=picture(), num_inference_steps=20)
        return greatest_difference(result.latents[..., 1:4, 2:6], whole[..., 1:4, 2:6])

    whole = session.pipeline.engine.encode_image(picture()[None])
    assert change(0.051) < change(0.5) < change(1.0)
    with pytest.raises(InvalidRequestError, match=r"strength=0\.001 leaves none of 20 steps"):
        change(0.001)


def test_with_prompt_to_prompt_the_source_is_untouched_and_the_background_kept(session, picture):
    swap = PromptToPrompt(source="a cat on grass")
    blended = BlendedLatentDiffusion(box=BOX, strength=0.8)
    call = {"image": picture(), "num_inference_steps": 10}
    both = session.trace(swap, blended, **call)
    first = both.steps[0]
    source, main = (first.layout.trajectories_of(name) for name in ("source", "main"))
    path = both.result.trajectory
    assert path.prompts == ("a cat on grass",)
    assert torch.equal(first.latents[main], path.at(first.move.t))
    assert torch.equal(both.latents[-1][source], path.at(-1))
    outside = torch.from_numpy(CELLS == 0).expand_as(path.at(-1))
    assert torch.equal(both.latents[-1][main][outside], path.at(-1)[outside])
    alone = session(swap, **call)
    assert greatest_difference(both.result.images, alone.images) > 0.01
    other = session(blended, **call)
    assert greatest_difference(both.result.images, other.images) > 0.01


class Shift(Method):
    """A second wrapper of the same hook."""

    method: ClassVar[str] = "shift"

    def start(self):
        return ShiftRun()


class ShiftRun:
    @hookimpl(wrapper=True)
    def advance(self, step, prediction):
        latents = yield
        return latents + 1


def test_of_two_that_advance_the_later_one_has_the_last_word(session, picture):
    clean = session.pipeline.engine.encode_image(picture()[None])
    outside = torch.from_numpy(CELLS == 0).expand_as(clean)
    edit = BlendedLatentDiffusion(box=BOX)
    last = session(Shift(), edit, image=picture()).latents
    assert torch.equal(last[outside], clean[outside])
    first = session(edit, Shift(), image=picture()).latents
    assert torch.equal(first[outside], clean[outside] + 1)


def test_a_split_request_is_the_same(picture):
    call = {"image": picture(), "num_images_per_prompt": 5}
    edit = BlendedLatentDiffusion(box=BOX)
    whole, split = (EditSession(toy_pipeline(max_rows=rows))(edit, **call) for rows in (64, 4))
    assert greatest_difference(whole.images, split.images) < 1e-4


@pytest.mark.parametrize("mode", MODES)
def test_it_keeps_the_rules_of_a_method(session, picture, mode):
    edit = BlendedLatentDiffusion(box=BOX, noise_mode=mode)
    assert_deterministic(edit, session.pipeline, session.prompt, image=picture())
    assert_clean_cancel(edit, session.pipeline, session.prompt, image=picture())


def test_a_call_without_a_picture_says_what_to_pass(session):
    with pytest.raises(InvalidRequestError, match=r"edits a picture: pass image=\.\.\."):
        session(BlendedLatentDiffusion(box=BOX))
