"""The judge against the labels of an eye."""

import numpy as np
import pytest
from underpaint_picturebook.judge import Found, Verdict

from benchmarks.picturebench.judge_check import agreements, compare


def verdict(*objects, background="grass", style="none"):
    mask = np.ones((2, 2), dtype=bool)
    found = tuple(Found(name, mask, (0, 0, 2, 2), colour, 0.9) for colour, name in objects)
    return Verdict(found, background, style)


def label(*objects, background="grass", style="none"):
    things = [{"name": name, "colour": colour} for colour, name in objects]
    return {"picture": "p", "objects": things, "background": background, "style": style}


def wrong(own, judged):
    return [each.aspect for each in compare(own, judged) if not each.right]


CAT = ("red", "cat")


@pytest.mark.parametrize(
    ("own", "judged", "aspects"),
    [
        (label(CAT), verdict(CAT), []),
        (label(CAT), verdict(("blue", "cat")), ["colour"]),
        (label(CAT), verdict(("red", "dog")), ["objects"]),
        (label(CAT), verdict(CAT, background="snow", style="sketch"), ["background", "style"]),
        (label((None, "cat")), verdict(("blue", "cat")), []),
        (label(CAT, CAT), verdict(CAT), []),
        (label(CAT, (None, None)), verdict(CAT), []),
        (label(CAT, (None, None)), verdict(CAT, ("red", "bus")), ["no name for the unclear one"]),
        (label(CAT, background=None, style=None), verdict(CAT, background="snow"), []),
    ],
)
def test_what_the_eye_says_is_compared_and_no_more(own, judged, aspects):
    assert wrong(own, judged) == aspects


def test_the_judge_agrees_with_the_eye_on_what_the_eye_is_sure_of():
    found = agreements()
    assert len({each.picture for each in found}) == 100
    for aspect, least in {"objects": 0.9, "colour": 0.9, "background": 0.95, "style": 0.95}.items():
        own = [each.right for each in found if each.aspect == aspect]
        assert len(own) >= 80
        assert np.mean(own) >= least, aspect
