"""Token maps: the worked examples, and what holds for all prompts."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from underpaint.errors import InvalidRequestError
from underpaint.testing.toy_text import tokenize
from underpaint_prompt_to_prompt.alignment import align, official_align
from underpaint_prompt_to_prompt.words import changed_words, common, edit_kind, word_slots

L = 24

# The toy tokenizer cuts words of more than six letters in two: "lasagne" is two tokens.
WORDS = st.sampled_from(["a", "cat", "dog", "lasagne", "burger", "on", "watercolour", "now,"])
PROMPTS = st.lists(WORDS, min_size=1, max_size=6).map(" ".join)
EVEN = st.integers(1, 6).flatmap(
    lambda n: st.tuples(*[st.lists(WORDS, min_size=n, max_size=n).map(" ".join)] * 2)
)


def tokens(text):
    return tokenize(text, L)


def taken(alignment, j):
    """Return {source token: share} of what target token j takes."""
    column = alignment.mapper[:, j]
    return {int(i): float(column[i]) for i in column.nonzero().flatten()}


def test_swap_of_one_token_is_the_identity():
    alignment = align("replace", tokens("a cat on grass"), tokens("a dog on grass"))
    assert torch.equal(alignment.mapper, torch.eye(L))
    assert alignment.aligned.all()


def test_swap_of_one_token_for_two_keeps_the_tail_aligned():
    source = tokens("a cat eating a burger now")  # BOS a cat eating a burger now EOS
    target = tokens("a cat eating a lasagne now")  # BOS a cat eating a las agne now EOS
    alignment = align("replace", source, target)
    assert [taken(alignment, j) for j in range(5)] == [{j: 1.0} for j in range(5)]
    assert taken(alignment, 5) == taken(alignment, 6) == {5: 0.5}
    assert taken(alignment, 7) == {6: 1.0}  # now
    assert taken(alignment, 8) == {7: 1.0}  # EOS
    assert taken(alignment, 9) == {9: 1.0}  # padding stays in place
    assert alignment.aligned.all()


def test_the_published_code_misaligns_that_tail():
    source = tokens("a cat eating a burger now")
    target = tokens("a cat eating a lasagne now")
    alignment = official_align("replace", source, target)
    assert taken(alignment, 5) == taken(alignment, 6) == {5: 0.5}
    assert taken(alignment, 7) == {7: 1.0}  # "now" reads the source's EOS


def test_swap_of_two_tokens_for_one_adds_both():
    source, target = tokens("lasagne on grass"), tokens("cat on grass")
    alignment = align("replace", source, target)
    assert taken(alignment, 1) == {1: 1.0, 2: 1.0}
    assert taken(alignment, 2) == {3: 1.0}
    # The source has a word where the target's padding begins: it keeps its own map.
    assert taken(alignment, 5) == {}
    assert alignment.aligned.tolist() == [1.0] * 5 + [0.0] + [1.0] * (L - 6)
    official = official_align("replace", source, target)
    assert taken(official, 2) == {2: 1.0}  # "on" reads a piece of "lasagne"
    assert taken(official, L - 1) == {}


def test_punctuation_is_no_part_of_a_word():
    alignment = align("replace", tokens("a cat, on grass"), tokens("a lasagne, on grass"))
    assert taken(alignment, 2) == taken(alignment, 3) == {2: 0.5}
    assert taken(alignment, 4) == {3: 1.0}
    dropped = align("replace", tokens("a cat, on grass"), tokens("a dog on grass"))
    assert taken(dropped, 3) == {4: 1.0}
    added = align("replace", tokens("a cat on grass"), tokens("a dog, on grass"))
    assert not added.aligned[3]
    assert taken(added, 4) == {3: 1.0}


def test_refinement_inserts_the_later_of_two_equal_words():
    source, target = tokens("a cat and a dog"), tokens("a cat and a small dog and a cat")
    alignment = align("refine", source, target)
    kept = [next(iter(taken(alignment, j)), None) for j in range(11)]
    #                BOS a cat and a small dog and   a     cat   EOS
    assert kept == [0, 1, 2, 3, 4, None, 5, None, None, None, 6]
    assert alignment.aligned[:11].tolist() == [float(i is not None) for i in kept]


def test_refined_padding_stays_in_place_only_where_both_pad():
    source, target = tokens("a cat on green grass"), tokens("a cat")
    alignment = align("refine", source, target)
    assert taken(alignment, 3) == {6: 1.0}  # EOS
    assert [taken(alignment, j) for j in (4, 5, 6)] == [{}] * 3
    assert taken(alignment, 7) == {7: 1.0}
    official = official_align("refine", source, target)
    assert taken(official, 4) == {4: 1.0}  # padding reads "green"
    assert official.aligned.all()


@given(PROMPTS, st.sampled_from(["replace", "refine"]), st.booleans())
def test_equal_prompts_give_the_identity(prompt, kind, quirks):
    make = official_align if quirks else align
    alignment = make(kind, tokens(prompt), tokens(prompt))
    assert torch.equal(alignment.mapper, torch.eye(L))
    assert alignment.aligned.all()


@given(EVEN)
def test_a_swap_shares_out_each_word(pair):
    source, target = map(tokens, pair)
    alignment = align("replace", source, target)
    columns, rows = alignment.mapper.sum(0), alignment.mapper.sum(1)
    for old, new in zip(word_slots(source), word_slots(target), strict=True):
        if old and new:
            share = torch.full((len(new),), len(old) / len(new))
            torch.testing.assert_close(columns[new], share)
            torch.testing.assert_close(rows[old], torch.ones(len(old)))
        else:
            assert not alignment.aligned[new].any()
    padding = range(max(source.count, target.count), L)
    assert all(taken(alignment, j) == {j: 1.0} for j in padding)
    assert taken(alignment, 0) == {0: 1.0}
    assert taken(alignment, target.count - 1) == {source.count - 1: 1.0}
    assert torch.equal(alignment.aligned, (columns > 0).float())


@given(EVEN)
def test_what_follows_the_last_swap_stays_aligned(pair):
    old, new = (f"{text} then grass" for text in pair)
    source, target = tokens(old), tokens(new)
    alignment = align("replace", source, target)
    for back in (2, 3):  # the last two words
        assert taken(alignment, target.count - back) == {source.count - back: 1.0}


@given(EVEN)
def test_the_published_swap_differs_only_after_a_word_of_other_length(pair):
    source, target = map(tokens, pair)
    ours, official = align("replace", source, target), official_align("replace", source, target)
    words = zip(pair[0].split(), pair[1].split(), strict=True)
    same_length = all(len(tokens(a).spans) and tokens(a).count == tokens(b).count for a, b in words)
    commas = pair[0].count(",") + pair[1].count(",")
    if same_length and not commas:
        assert torch.equal(ours.mapper, official.mapper)


@given(PROMPTS, PROMPTS)
def test_a_refinement_keeps_what_is_common_in_order(old, new):
    source, target = tokens(old), tokens(new)
    alignment = align("refine", source, target)
    assert torch.equal(alignment.mapper.sum(0), alignment.aligned)
    assert alignment.mapper.sum(1).max() <= 1
    sources = [next(iter(taken(alignment, j))) for j in range(target.count) if taken(alignment, j)]
    assert sources == sorted(sources)
    for j in range(target.count):
        assert all(source.ids[i] == target.ids[j] for i in taken(alignment, j))


@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_common_is_as_long_as_can_be(a, b):
    pairs = common(a, b)
    assert all(a[i] == b[j] for i, j in pairs)
    assert all(p[0] < q[0] and p[1] < q[1] for p, q in pairwise(pairs))
    assert len(pairs) == longest(a, b)


def longest(a, b):
    if not a or not b:
        return 0
    return max(longest(a[1:], b), longest(a, b[1:]), (a[0] == b[0]) + longest(a[1:], b[1:]))


settings.register_profile("quick", max_examples=40, deadline=None)
settings.load_profile("quick")


@pytest.mark.parametrize(
    ("source", "target", "kind"),
    [
        ("a cat on grass", "a dog on grass", "replace"),
        ("a cat on grass", "A cat on grass", "replace"),
        ("a cat on grass", "an umbrella on grass", "replace"),
        ("a cat on grass", "a cat on grass in the snow", "refine"),
        ("a cat on grass", "a cat", "refine"),
        ("a red cat on grass", "a cat on green grass", "refine"),  # as many words, but moved
    ],
)
def test_auto(source, target, kind):
    assert edit_kind("auto", source, target) == kind
    assert edit_kind("refine", source, target) == "refine"


def test_a_swap_of_other_word_counts_says_to_refine():
    with pytest.raises(InvalidRequestError, match="edit='refine'"):
        edit_kind("replace", "a cat", "a black cat")


def test_quirks_refuse_what_single_spaces_do_not_split_evenly():
    with pytest.raises(InvalidRequestError, match="single spaces"):
        official_align("replace", tokens("a cat on grass"), tokens("a cat  on grass"))


@pytest.mark.parametrize(
    ("source", "target", "went", "came"),
    [
        ("a cat on grass", "a dog on grass", [1], [1]),
        ("a cat on grass", "an umbrella on grass", [1], [1]),  # an article is no subject
        ("a cat on grass", "the cat on grass", [0], [0]),  # unless nothing else changed
        ("a cat", "a red cat", [], [1]),
        ("a cat", "a cat", [], []),
    ],
)
def test_changed_words(source, target, went, came):
    assert changed_words(edit_kind("auto", source, target), source, target) == (went, came)
