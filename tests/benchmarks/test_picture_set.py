"""The set: the same from its seed, large enough, and right to the pixel."""

from collections import Counter

import numpy as np
import pytest
from underpaint_picturebook.world import is_held_out

from benchmarks.picturebench.edit_types import EditType
from benchmarks.picturebench.items import different_words
from benchmarks.picturebench.masks import decode_runs, encode_runs
from benchmarks.picturebench.picture_set import draw_item, picture_set, plan


@pytest.fixture(scope="module")
def items():
    return picture_set("test", 40)


def changed(item):
    return (item.picture != item.truth.picture).any(-1)


def test_the_test_split_has_at_least_300_items_of_ten_types():
    counts = Counter(kind for kind, _ in plan("test"))
    assert counts.total() == 350
    assert set(counts) == set(EditType)
    assert min(counts.values()) >= 20


def test_a_limit_is_the_beginning_of_the_whole_and_takes_types_by_turns(items):
    assert list(plan("test"))[:10] == [(kind, 0) for kind in EditType]
    assert [item.type for item in items[:10]] == list(EditType)


def test_the_same_seed_gives_the_same_bytes_and_another_one_others(items):
    for item in items[:10]:
        rank = int(item.key[-3:])
        assert draw_item("test", item.type, rank).digest == item.digest
        assert draw_item("test", item.type, rank, seed=1).digest != item.digest


def test_no_item_is_in_both_splits(items):
    digests = {item.digest for item in items}
    assert not digests & {item.digest for item in picture_set("tune", 20)}


def check_mask(item):
    assert not (changed(item) & ~item.mask).any(), item.key
    assert (changed(item) & item.mask).mean() > 0.25 * item.mask.mean(), item.key


def test_the_pictures_differ_inside_of_the_mask_alone_and_do_differ(items):
    for item in items:
        check_mask(item)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["tune", "test"])
def test_the_masks_of_the_whole_set_are_exact(split):
    for item in picture_set(split):
        check_mask(item)


def test_masks_are_no_larger_than_the_objects_and_the_ground(items):
    """A mask of everything would be exact as well: only styles and backgrounds may have one."""
    for item in items:
        if item.type not in (EditType.STYLE, EditType.BACKGROUND, EditType.RANDOM):
            assert item.mask.mean() < 0.75, item.key
        if item.type in (EditType.ADD_OBJECT, EditType.DELETE_OBJECT, EditType.COLOUR):
            assert item.mask.mean() < 0.25, item.key


def test_the_blended_words_stand_in_their_prompts(items):
    for item in items:
        assert different_words(item.source_prompt, item.target_prompt)
        if item.blended:
            old, new = item.blended
            assert old in item.source_prompt.split(), item.key
            assert new in item.target_prompt.split(), item.key


def test_every_third_item_of_the_test_split_shows_what_no_training_scene_shows(items):
    for item in items:
        shown = is_held_out(item.truth.source.pairs) or is_held_out(item.truth.target.pairs)
        assert item.unseen == shown == (int(item.key[-3:]) % 3 == 2)
    assert not any(item.unseen for item in picture_set("tune", 10))


def test_every_type_changes_what_its_name_says(items):
    by_type = {item.type: item.truth for item in items[:10]}

    def differs(kind, aspect):
        return aspect(by_type[kind].source) != aspect(by_type[kind].target)

    assert differs(EditType.BACKGROUND, lambda scene: scene.background)
    assert differs(EditType.MATERIAL, lambda scene: scene.background)
    assert differs(EditType.STYLE, lambda scene: scene.style)
    for kind, aspect in {
        EditType.CHANGE_OBJECT: lambda thing: thing.name,
        EditType.COLOUR: lambda thing: thing.colour,
        EditType.CONTENT: lambda thing: thing.radius,
        EditType.POSE: lambda thing: (thing.x, thing.y),
    }.items():
        assert differs(kind, lambda scene, a=aspect: [a(t.placed) for t in scene.things])
    assert len(by_type[EditType.ADD_OBJECT].source.things) == 1
    assert len(by_type[EditType.ADD_OBJECT].target.things) == 2
    assert len(by_type[EditType.DELETE_OBJECT].source.things) == 2
    assert len(by_type[EditType.DELETE_OBJECT].target.things) == 1


def test_run_lengths_give_the_mask_back():
    mask = np.array([[1, 0, 1], [1, 1, 0], [0, 0, 1]], bool)
    assert encode_runs(mask) == [0, 1, 2, 3, 8, 1]
    assert (decode_runs(encode_runs(mask), (3, 3)) == mask).all()
    assert encode_runs(np.zeros((2, 2), bool)) == []


@pytest.mark.parametrize("runs", [[0], [9, 1], [-1, 2], [0, -1]])
def test_run_lengths_that_make_no_sense_are_refused(runs):
    with pytest.raises(ValueError, match=r"pairs|run of"):
        decode_runs(runs, (3, 3))
