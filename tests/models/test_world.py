"""The world: same seed same bytes, captions that tell the truth, masks, held-out pairs."""

import hashlib

import numpy as np
import pytest
from underpaint_picturebook import captions
from underpaint_picturebook.backgrounds import BACKGROUNDS
from underpaint_picturebook.objects import OBJECTS
from underpaint_picturebook.palette import COLOURS
from underpaint_picturebook.styles import STYLES
from underpaint_picturebook.world import is_held_out, scene

SCENES = [scene(seed) for seed in range(200)]


def test_same_seed_gives_the_same_scene():
    for seed in range(20):
        first, second = scene(seed), scene(seed)
        assert first.image.tobytes() == second.image.tobytes()
        assert first.caption == second.caption
        assert all(
            (a.mask == b.mask).all() for a, b in zip(first.objects, second.objects, strict=True)
        )


def test_different_seeds_give_different_scenes():
    digests = {hashlib.sha256(made.image.tobytes()).hexdigest() for made in SCENES}
    assert len(digests) == len(SCENES)


def test_the_world_has_what_the_design_asks_for():
    assert len(OBJECTS) >= 16
    assert len(COLOURS) == 10
    assert {made.background for made in SCENES} >= {
        "plain", "grass", "snow", "beach", "night", "water",
    }  # fmt: skip
    assert {made.style for made in SCENES} == {"none", *STYLES}
    assert {len(made.objects) for made in SCENES} == {1, 2, 3}


def test_captions_name_every_object_where_they_say():
    for made in SCENES:
        for item in made.objects:
            assert made.caption[slice(*item.words.noun)] == item.name
            if item.words.colour:
                assert made.caption[slice(*item.words.colour)] == item.colour


def test_captions_sometimes_leave_the_colour_out():
    said = [item.words.colour is not None for made in SCENES for item in made.objects]
    assert 0.7 < np.mean(said) < 0.95


def test_captions_state_the_background_except_plain():
    for made in SCENES:
        words = BACKGROUNDS[made.background].words
        if made.background == "plain":
            assert not any(
                made.caption.endswith(end)
                for kind in BACKGROUNDS.values()
                for end in kind.words
                if end
            )
        else:
            assert any(made.caption.endswith(end) for end in words)


@pytest.mark.parametrize(("word", "axis", "sign"), [
    (" to the left of ", 0, -1), (" to the right of ", 0, 1),
    (" above ", 1, -1), (" below ", 1, 1), (" under ", 1, 1),
])  # fmt: skip
def test_relations_hold(word, axis, sign):
    stated = [made for made in SCENES if word in made.caption]
    assert stated
    for made in stated:
        order = sorted(made.objects, key=lambda item: item.words.noun)
        rows_columns = [np.argwhere(item.mask).mean(axis=0)[::-1] for item in order]
        assert (rows_columns[0][axis] - rows_columns[1][axis]) * sign > 20


def test_masks_are_disjoint_visible_and_fill_their_boxes():
    for made in SCENES:
        together = np.sum([item.mask for item in made.objects], axis=0)
        assert together.max() == 1
        for item in made.objects:
            left, top, right, bottom = item.box
            assert item.mask[top:bottom, left:right].sum() == item.mask.sum()
            assert item.mask.mean() > 0.01


def test_a_mask_shows_its_colour():
    for made in SCENES:
        for item in made.objects:
            if made.style == "none" and item.name in ("heart", "star"):
                mean = made.image[item.mask].mean(axis=0)
                distance = {name: np.abs(mean - rgb).sum() for name, rgb in COLOURS.items()}
                assert min(distance, key=distance.get) == item.colour


def test_training_scenes_show_no_held_out_pair():
    for made in SCENES:
        assert not is_held_out(tuple((item.name, item.colour) for item in made.objects))


def test_held_out_scenes_each_show_one():
    for seed in range(40):
        made = scene(seed, held_out=True)
        assert is_held_out(tuple((item.name, item.colour) for item in made.objects))


def test_held_out_pairs_name_real_things():
    assert all(name in OBJECTS and colour in COLOURS for name, colour in captions.HELD_OUT_COLOURS)
    assert all(len(pair) == 2 and pair <= set(OBJECTS) for pair in captions.HELD_OUT_PAIRS)
    assert ("cat", "red") not in captions.HELD_OUT_COLOURS
    assert frozenset(("cat", "bus")) not in captions.HELD_OUT_PAIRS


def test_one_scene_keeps_its_bytes_across_releases():
    assert scene(3).caption == "a green mushroom at night"
