"""The page of the hooks shows an example of each; each does what it says, on the toy engine."""

import pytest
import torch
from underpaint.registration import SPECIFICATIONS
from underpaint.testing import EditSession

from docs.examples.hooks import EXAMPLES
from docs.generate import hooks

SESSION = EditSession(call={"seed": 7, "num_inference_steps": 4, "output_type": "pt"})


def pictures(result):
    return torch.stack(result.images)


def contrast(result):
    return result.latents.square().mean()


EFFECTS = {
    "needs": lambda plain, edited: edited.reports["maps"][0].shape[0] == 77,
    "branches": lambda plain, edited: set(edited.branches) == {"night"},
    "schedule": lambda plain, edited: len(edited.timings.steps) == len(plain.timings.steps) + 2,
    "conditioning": lambda plain, edited: not torch.equal(edited.latents, plain.latents),
    "initial_latents": lambda plain, edited: not torch.equal(edited.latents, plain.latents),
    "before_step": lambda plain, edited: edited.warnings == ("starts at level 751",),
    "attention_edits": lambda plain, edited: not torch.equal(edited.latents, plain.latents),
    "guidance": lambda plain, edited: contrast(edited) < contrast(plain),
    "combine": lambda plain, edited: not torch.equal(edited.latents, plain.latents),
    "predict": lambda plain, edited: edited.latents.abs().max() < 0.6 < plain.latents.abs().max(),
    "advance": lambda plain, edited: torch.equal(
        pictures(edited)[..., :16], torch.stack(edited.branches["night"])[..., :16]
    ),
    "after_step": lambda plain, edited: torch.equal(
        torch.stack(edited.reports["preview"]).clamp(0, 1), pictures(plain)
    ),
    "decode": lambda plain, edited: torch.equal(edited.images[0][0], edited.images[0][2]),
    "result": lambda plain, edited: (
        torch.equal(pictures(edited), pictures(plain).flip(0))
        and edited.warnings == ("the last image comes first",)
    ),
}


@pytest.mark.parametrize("hook", SPECIFICATIONS)
def test_the_example_of_a_hook_does_what_it_says(hook, make_method):
    call = {"num_images_per_prompt": 2}
    edited = SESSION(make_method(EXAMPLES[hook]), **call)
    assert EFFECTS[hook](SESSION(**call), edited)


@pytest.mark.parametrize("hook", SPECIFICATIONS)
def test_the_example_implements_its_hook_and_is_shown_there(hook):
    assert hasattr(getattr(EXAMPLES[hook], hook), "underpaint_impl")
    section = hooks.render().split(f"\n## {hook}\n")[1].split("\n## ")[0]
    assert f"class {EXAMPLES[hook].__name__}:" in section
