"""What is kept outside of the objects that change."""

from __future__ import annotations

import pytest
import torch
from underpaint import Pipeline
from underpaint.layout import Layout
from underpaint.maps import AttentionMaps
from underpaint.sites import Site, SiteSelector
from underpaint.testing import greatest_difference
from underpaint_self_guidance import SelfGuidance, move, resize
from underpaint_self_guidance.background import Background
from underpaint_self_guidance.energies import Readings, Target, Weights
from underpaint_self_guidance.placement import Placement

SITE = Site("fine", "cross", "up", 1, 1, 8)
LAYOUT = Layout.of(1, ("main", "original"), ())


def square_at(left):
    """Return maps of one word, a square of 4x4 cells on 16x16, on the original alone."""
    grid = torch.zeros(2, 1, 16, 16, 1)
    grid[1, 0, 6:10, left : left + 4] = 1
    return AttentionMaps(LAYOUT, (32, 32), {SITE: grid.reshape(2, 1, 256, 1)})


def background(placement):
    word = torch.ones(1, 1)
    target = Target(word, "original", word, Weights(shape=1.0), placement)
    return Background([target], Readings(SiteSelector("cross"), "block"))


def test_the_old_and_the_new_place_may_change_and_nothing_else():
    rule = background(Placement(shift=(0.5, 0.0)))
    rule.add(square_at(left=2))
    wanted = torch.zeros(32, 32)
    wanted[10:22, 2:14] = 1  # one cell of 2x2 more on each side
    wanted[10:22, 18:30] = 1
    assert torch.equal(rule.mask[0, 0], wanted)


def test_outside_the_latents_are_the_originals():
    rule = background(Placement(factor=1.5))
    latents = torch.randn(2, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rule.keep(latents, LAYOUT), latents)  # nothing is known yet
    rule.add(square_at(left=6))
    kept = rule.keep(latents, LAYOUT)
    inside = rule.mask[0, 0] > 0
    assert torch.equal(kept[1], latents[1])
    assert torch.equal(kept[0][:, inside], latents[0][:, inside])
    assert torch.equal(kept[0][:, ~inside], latents[1][:, ~inside])


@pytest.mark.parametrize("keep", [True, False])
def test_a_run_keeps_the_background_only_if_it_is_asked(keep):
    """On a trained model: the toy's attention is all over the picture."""
    pipe = Pipeline.from_pretrained("picturebook")
    edit = SelfGuidance(move("cat", right=0.2), keep_background=keep)
    call = {"seed": 0, "num_inference_steps": 2, "output_type": "latent"}
    result = pipe("a red cat on grass", edits=[edit], **call)
    main, original = result.images[0], result.branches["original"][0]
    same = (main == original).float().mean()
    assert 0.3 < same < 0.9 if keep else same < 0.01


def test_no_number_of_the_noise_changes_by_more_than_the_limit(edit_session):
    call = {"prompt": "a dog on green grass"}
    changes = []
    for limit in (0.001, 0.01):
        edit = SelfGuidance(
            move("dog", right=0.2), strength=0.1, limit=limit, pull=0, keep_background=False
        )
        main, original = edit_session.trace(edit, **call).predictions[0].noise
        changes.append(float((main - original).abs().max()))
    assert changes == pytest.approx([0.001, 0.01], rel=1e-3)


def words_kept(edit_session, edit):
    """Return how many objects have an energy, of two that the prompt names and one that changes."""
    plugins = []
    start = SelfGuidance.start

    def spy(method):
        plugins.append(start(method))
        return plugins[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SelfGuidance, "start", spy)
        edit_session(edit, prompt="a dog on green grass", num_inference_steps=2)
    return len(plugins[-1].targets) - len(edit.resize)


def test_energies_hold_the_ground_only_where_the_background_is_not_kept(edit_session):
    """The outline of the ground has a hole where the object stands: it would hold it there."""
    change = resize("dog", 1.4)
    assert words_kept(edit_session, SelfGuidance(change, strength=0.1)) == 0
    assert words_kept(edit_session, SelfGuidance(change, strength=0.1, others=("grass",))) == 1
    assert words_kept(edit_session, SelfGuidance(change, strength=0.1, keep_background=False)) == 1


def test_a_resize_asks_more_of_the_maps_than_of_the_picture(edit_session):
    """Factor 1.4 with overshoot 2 is 1.96 without; all may change, for places are true to size."""
    how = {"strength": 0.1, "pull": 0, "keep_background": False, "others": ()}
    pictures = [
        edit_session(
            SelfGuidance(resize("dog", factor), overshoot=power, **how), prompt="a dog"
        ).images
        for factor, power in ((1.4, 2.0), (1.4**2, 1.0), (1.4, 1.0))
    ]
    assert greatest_difference(pictures[0], pictures[1]) < 1e-4
    assert greatest_difference(pictures[0], pictures[2]) > 1e-4
