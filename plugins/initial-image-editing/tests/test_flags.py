"""The parameters as command-line flags."""

from __future__ import annotations

from inspect import signature
from pathlib import Path

import pytest
from underpaint import registry
from underpaint.commands.parameters import add_flags
from underpaint_initial_image_editing import LayoutToImage, Repaint


def flags(method, **values):
    """Return the method that a command with these flags makes."""

    def body(method, *, output: str = "") -> object:
        return method

    command = add_flags(method, body)
    assert set(values) <= set(signature(command).parameters)
    return command(**values)


def test_boxes_are_pairs():
    boxes = ["cat=[0, 0.2, 0.5, 1]", "big bus=[0.5,0,1,1]"]
    edit = flags(LayoutToImage, boxes=boxes, bias=2.0)
    assert edit.boxes == {"cat": (0, 0.2, 0.5, 1), "big bus": (0.5, 0, 1, 1)}
    assert edit.bias == 2


@pytest.mark.parametrize(
    ("text", "mask"),
    [("[0, 0.5, 1, 1]", (0, 0.5, 1, 1)), ("masks/sky.png", Path("masks/sky.png"))],
)
def test_a_mask_is_a_box_or_a_path(text, mask):
    assert flags(Repaint, mask=[text], base_seed=3) == Repaint(mask=mask, base_seed=3)


def test_the_entry_points_name_the_methods():
    for method in (LayoutToImage, Repaint):
        assert registry.load("methods", method.method) is method
