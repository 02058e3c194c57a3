"""What counts as a success, on verdicts made by hand and on what the judge sees of the truth."""

from dataclasses import replace

import numpy as np
import pytest
from underpaint_picturebook.judge import Found, Judge, Verdict

from benchmarks.picturebench.edit_types import EditType
from benchmarks.picturebench.expectations import look
from benchmarks.picturebench.picture_set import draw_item


def seen(scene, covers):
    """Return the verdict of a judge that errs nowhere."""
    objects = []
    for thing in scene.things:
        mask = covers[thing.slot]
        objects.append(Found(thing.placed.name, mask, (0, 0, 1, 1), thing.placed.colour, 1.0))
    return Verdict(tuple(objects), scene.background, scene.style)


def outcome(item, verdict):
    return look(item.truth, item.type, verdict)


@pytest.mark.parametrize("kind", EditType, ids=lambda kind: kind.title)
def test_the_expected_scene_is_a_success_and_the_source_is_kept_but_not_edited(kind):
    item = draw_item("test", kind, 0)
    after = outcome(item, seen(item.truth.target, item.truth.after))
    before = outcome(item, seen(item.truth.source, item.truth.before))
    assert after.success
    assert False not in after.aspects.values()
    assert not before.edited
    assert before.kept


def test_another_colour_of_an_object_that_should_keep_it_is_not_kept():
    item = draw_item("test", EditType.CHANGE_OBJECT, 0)
    right = seen(item.truth.target, item.truth.after)
    wrong = replace(right, objects=(replace(right.objects[0], colour="no such colour"),))
    found = outcome(item, wrong)
    assert found.edited
    assert not found.kept
    assert found.aspects["colour"] is False
    assert found.aspects["object"] is True


def test_an_object_elsewhere_is_at_the_wrong_position():
    item = draw_item("test", EditType.COLOUR, 0)
    right = seen(item.truth.target, item.truth.after)
    corner = np.zeros((256, 256), bool)
    corner[:20, :20] = True
    found = outcome(item, replace(right, objects=(replace(right.objects[0], mask=corner),)))
    assert found.aspects["position"] is False
    assert not found.success


@pytest.mark.parametrize("rank", range(6))
def test_the_old_place_is_not_the_new_one(rank):
    item = draw_item("test", EditType.POSE, rank)
    old = seen(item.truth.source, item.truth.before)
    assert outcome(item, old).aspects["position"] is False


def test_the_old_object_beside_the_new_one_is_no_success():
    item = draw_item("test", EditType.CHANGE_OBJECT, 0)
    both = seen(item.truth.target, item.truth.after).objects
    both += seen(item.truth.source, item.truth.before).objects
    found = outcome(item, Verdict(both, item.truth.target.background, "none"))
    assert found.aspects["object"] is False
    assert not found.edited


def test_a_missing_object_counts_once():
    item = draw_item("test", EditType.CHANGE_OBJECT, 0)
    found = outcome(item, Verdict((), item.truth.target.background, "none"))
    assert found.aspects["object"] is False
    assert found.aspects["colour"] is None
    assert found.aspects["position"] is None


def test_the_old_size_is_not_the_new_one():
    item = draw_item("test", EditType.CONTENT, 0)
    old = seen(item.truth.source, item.truth.before)
    assert outcome(item, old).aspects["size"] is False


def test_the_judge_agrees_with_the_truth():
    judge, items = Judge.load(), [draw_item("test", kind, 1) for kind in EditType]
    verdicts = judge([item.truth.picture for item in items])
    right = [outcome(item, seen).success for item, seen in zip(items, verdicts, strict=True)]
    assert sum(right) >= 9


def silent(kind, *, new):
    """Return an item that leaves the colour of an object out, of a new one or of one that stays."""
    for rank in range(60):
        item = draw_item("tune", kind, rank)
        before = {thing.placed.name for thing in item.truth.source.things}
        for index, thing in enumerate(item.truth.target.things):
            if not thing.says_colour and (thing.placed.name not in before) == new:
                return item, index
    raise AssertionError("no such item")


@pytest.mark.parametrize("kind", [EditType.CHANGE_OBJECT, EditType.ADD_OBJECT])
@pytest.mark.parametrize("new", [True, False])
def test_a_colour_that_no_prompt_says_is_asked_of_what_stays_alone(kind, new):
    item, index = silent(kind, new=new)
    objects = list(seen(item.truth.target, item.truth.after).objects)
    objects[index] = replace(objects[index], colour="no such colour")
    wrong = Verdict(tuple(objects), item.truth.target.background, item.truth.target.style)
    assert outcome(item, wrong).success == new
