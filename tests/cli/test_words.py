from __future__ import annotations

import pytest
from underpaint.commands.words import emphasised, mark_changes, mark_named, named_words


@pytest.mark.parametrize(
    ("source", "target", "ours", "theirs"),
    [
        ("a cat on grass", "a dog on grass", ["cat"], ["dog"]),
        ("a cat on grass", "a cat on grass in the snow", [], ["snow"]),
        ("a cat and a cat", "a cat and a dog", ["cat"], ["dog"]),
        ("A cat", "a cat", [], []),
        ("a cat", "a cat,", ["cat"], ["cat"]),
        ("cats", "the dogs", ["cats"], ["dogs"]),
        ("grass", "grass in it", [], ["in", "it"]),
    ],
)
def test_changed_words(source, target, ours, theirs):
    first, second = mark_changes(source, target)
    assert emphasised(first) == ours
    assert emphasised(second) == theirs
    assert " ".join(word for word, _ in second) == target


def test_words_that_parameters_name():
    prompt = "a red cat"
    parameters = {"source": prompt, "reweight": {"red": 0.2}, "blend": {"words": ["a cat"]}}
    assert named_words(parameters, [prompt]) == {"red", "a", "cat", "words"}
    assert mark_named("A Red, cat", {"red"}) == [("A", False), ("Red,", True), ("cat", False)]


def test_at_most_four_words():
    words = [(word, True) for word in ("one", "two", "one", "three", "four", "five")]
    assert emphasised(words) == ["one", "two", "three", "four"]
