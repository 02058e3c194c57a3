import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from underpaint.errors import InvalidRequestError, UnknownWordError
from underpaint.testing import ToyEngine

ENGINE = ToyEngine()


def tokens(text, length=77):
    return ToyEngine(context_length=length).tokenize([text])[0]


def text_at(prompt, indices):
    return [prompt.text[slice(*prompt.spans[i])] for i in indices]


def test_word_and_phrase():
    prompt = tokens("a cat on a red mat")
    assert text_at(prompt, prompt.find("cat")) == ["cat"]
    assert text_at(prompt, prompt.find("red mat")) == ["red", "mat"]
    assert prompt.find("a") == (1, 4)


def test_word_of_several_tokens_gives_them_all():
    prompt = tokens("a watercolour cat")
    assert text_at(prompt, prompt.find("watercolour")) == ["water", "colour"]


@pytest.mark.parametrize("asked", ["RED CAT", "red,  cat", " red cat! ", "red\ncat", "“red cat”"])
def test_case_punctuation_and_space_do_not_matter(asked):
    prompt = tokens("A red, cat!")
    assert text_at(prompt, prompt.find(asked))[0] == "red"
    assert text_at(prompt, prompt.find(asked))[-1] == "cat"


def test_repeated_word_and_occurrence():
    prompt = tokens("a cat and a cat")
    assert prompt.find("cat") == (2, 5)
    assert prompt.find("cat", occurrence=2) == (5,)
    with pytest.raises(UnknownWordError, match=r"2 times.*occurrence 3"):
        prompt.find("cat", occurrence=3)
    with pytest.raises(UnknownWordError, match=r"occurrence 0"):
        prompt.find("cat", occurrence=0)


def test_whole_words_only():
    prompt = tokens("a catalogue of tomcats")
    with pytest.raises(UnknownWordError):
        prompt.find("cat")


def test_unknown_word_lists_the_words_and_the_nearest():
    with pytest.raises(UnknownWordError, match=r"Valid: 'a', 'cat', 'grass'.*mean 'grass'"):
        tokens("a cat, grass").find("gras")


@pytest.mark.parametrize("asked", ["", "  ", "!?"])
def test_a_phrase_without_a_word_is_an_error(asked):
    with pytest.raises(InvalidRequestError, match=r"holds no word"):
        tokens("a cat").find(asked)


def test_a_word_that_was_cut_off_says_so():
    prompt = tokens("one two three four five six seven", length=6)
    assert prompt.dropped == "five six seven"
    assert prompt.find("four") == (4,)
    with pytest.raises(UnknownWordError, match=r"cut off.*'five six seven'"):
        prompt.find("seven")


@given(
    st.lists(st.text(string.ascii_letters, min_size=1, max_size=9), min_size=1, max_size=12),
    st.sampled_from([" ", ", ", "  ", " - "]),
    st.data(),
)
def test_find_gives_exactly_the_tokens_of_the_word(words, separator, data):
    word = data.draw(st.sampled_from(words))
    prompt = ENGINE.tokenize([separator.join(words)])[0]
    spelled = "".join(text_at(prompt, prompt.find(word))).lower()
    assert spelled == word.lower() * sum(w.lower() == word.lower() for w in words)


@given(st.text(max_size=60), st.text(min_size=1, max_size=8))
def test_find_never_crashes_on_any_text(text, phrase):
    prompt = ENGINE.tokenize([text])[0]
    try:
        found = prompt.find(phrase)
    except (UnknownWordError, InvalidRequestError):
        return
    assert all(prompt.spans[i] for i in found)
