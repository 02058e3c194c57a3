"""Prompt-to-Prompt and Self-Guidance in one run: each does its part."""

from __future__ import annotations

import pytest
from underpaint.testing import greatest_difference
from underpaint_prompt_to_prompt import PromptToPrompt
from underpaint_self_guidance import SelfGuidance, move

SWAP = PromptToPrompt(source="a dog on green grass")
MOVE = SelfGuidance(move("cat", right=0.2), strength=0.1)


@pytest.mark.parametrize("edits", [(SWAP, MOVE), (MOVE, SWAP)], ids=["swap, move", "move, swap"])
def test_prompt_to_prompt_and_self_guidance_both_act(edit_session, edits):
    call = {"prompt": "a cat on green grass"}
    swapped, moved = (edit_session(edit, **call) for edit in (SWAP, MOVE))
    both = edit_session(*edits, **call)
    for alone in (swapped, moved):
        assert greatest_difference(both.images, alone.images) > 1e-2
    for branch, alone in (("source", swapped), ("original", moved)):
        assert greatest_difference(both.branches[branch], alone.branches[branch]) < 1e-5


def test_a_move_of_no_strength_leaves_the_swap_as_it_is(edit_session):
    call = {"prompt": "a cat on green grass"}
    off = MOVE.model_copy(update={"strength": 0.0})
    both, alone = (edit_session(*edits, **call) for edits in ((SWAP, off), (SWAP,)))
    assert greatest_difference(both.images, alone.images) < 1e-5
