"""Real pictures: guidance scales the edit alone, and D keeps the picture's own noise."""

import math
from typing import ClassVar

import pytest
import torch
from underpaint import Method, hookimpl
from underpaint.records import Move
from underpaint.schedule import add_noise, ddim_step
from underpaint.testing import EditSession, greatest_difference
from underpaint_asyrp import Asyrp
from underpaint_asyrp.process import path_noise
from underpaint_prompt_to_prompt import PromptToPrompt

STEPS = {"num_inference_steps": 12}


@pytest.fixture(params=[0, 1])
def picture(request):
    return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(request.param))


def test_the_paths_noise_is_that_of_its_ddim_move():
    x0, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()
    there = ddim_step(x0, noise, 0.6)
    assert torch.allclose(path_noise(add_noise(x0, noise, 0.3), there, 0.3, 0.6), noise, atol=1e-5)


def test_without_strength_a_picture_is_denoised_as_it_was_inverted(make_attribute, picture):
    session = EditSession()
    kept = session(Asyrp(attributes={make_attribute(): 0.0}), image=picture, **STEPS)
    path = session.pipeline.invert(picture, session.prompt, **STEPS)
    unguided = session(trajectory=path, guidance_scale=1.0, **STEPS)
    guided = session(trajectory=path, **STEPS)
    assert greatest_difference(kept.images, unguided.images) < 1e-4
    assert greatest_difference(guided.images, unguided.images) > 0.01


def test_a_negative_prompt_of_the_call_stays(make_attribute, picture):
    session, edit = EditSession(), Asyrp(attributes={make_attribute(): 0.0})
    path = session.pipeline.invert(picture, session.prompt, **STEPS)
    call = {"trajectory": path, "negative_prompt": "a boat", **STEPS}
    assert greatest_difference(session(edit, **call).images, session(**call).images) == 0


def test_what_another_edit_makes_of_the_words_stays(make_attribute, picture):
    session = EditSession(prompt="a dog on grass")
    swap, edit = PromptToPrompt(source="a cat on grass"), Asyrp(attributes={make_attribute(): 0.0})
    path = session.pipeline.invert(picture, "a cat on grass", **STEPS)
    both, alone = (session(*edits, trajectory=path, **STEPS) for edits in ((swap, edit), (swap,)))
    assert greatest_difference(both.images, alone.images) == 0


class Watch(Method):
    """Keep what each step predicts and where it leads."""

    method: ClassVar[str] = "watch"

    seen: list[tuple[Move, torch.Tensor, torch.Tensor]]

    def start(self):
        return WatchRun(self.seen)


class WatchRun:
    def __init__(self, seen):
        self.seen = seen

    @hookimpl(wrapper=True)
    def advance(self, step, prediction):
        latents = yield
        self.seen.append((step, prediction, latents))
        return latents


def test_the_direction_is_the_paths_own_while_it_is_edited(make_attribute, picture):
    session, seen = EditSession(), []
    edit = Asyrp(attributes={make_attribute(t_edit=400): 2.0})
    path = session.pipeline.invert(picture, session.prompt, **STEPS)
    session(edit, Watch.model_construct(seen=seen), trajectory=path, **STEPS)
    edited = [one for one in seen if one[0].move.t >= 400]
    assert 0 < len(edited) < len(seen)
    for step, prediction, latents in edited:
        own = path_noise(
            path.at(step.move.t), path.at(step.move.next_t), step.alpha, step.next_alpha
        )
        wanted = math.sqrt(step.next_alpha) * prediction.x0 + math.sqrt(1 - step.next_alpha) * own
        assert torch.allclose(latents, wanted, atol=1e-4)
    step, prediction, _ = seen[-1]
    again = step.combine(step.evaluate(taps=()))
    assert torch.allclose(prediction.noise, again, atol=1e-4)


def test_without_following_the_direction_is_the_models(make_attribute, picture):
    """Equation 5 as it stands: D has the noise of the first evaluation."""
    session, seen = EditSession(), []
    edit = Asyrp(attributes={make_attribute(t_edit=0): 2.0})
    watch = Watch.model_construct(seen=seen)
    session(edit, watch, image=picture, follow=False, **STEPS)
    for step, prediction, _ in seen:
        assert torch.allclose(prediction.noise, step.combine(step.evaluate(taps=())), atol=1e-4)
