"""The words' maps that a call records."""

import pytest
import torch
from underpaint import AttentionEdit, Branch, Needs, hookimpl
from underpaint.errors import InvalidRequestError, NotOfferedError, UnknownWordError

LENGTH = 77


class Mute:
    """Takes away the word at place 2 from the main branch."""

    @hookimpl
    def needs(self):
        return Needs(edits=True)

    @hookimpl
    def branches(self):
        return [Branch("source", "a red cat")]

    @hookimpl
    def attention_edits(self, step):
        scale = torch.ones(LENGTH)
        scale[2] = 0
        return [AttentionEdit("main", "main", cross_scale=scale)]


def test_maps_of_a_word(edit_session):
    maps = edit_session(prompt="a dog on grass", record_attention=True).attention
    assert maps.words == ("a", "dog", "on", "grass")
    assert list(maps) == list(maps.words)
    assert maps["dog"].shape == (1, 4, 4)
    assert float(maps["dog"].min()) > 0
    assert float(maps["dog"].max()) < 1
    assert torch.equal(maps["DOG!"], maps["dog"])


def test_a_word_of_two_tokens_is_their_sum(edit_session):
    maps = edit_session(prompt="a watercolour", record_attention=True).attention
    (all_tokens,) = maps.values["main"]
    assert torch.equal(maps["watercolour"][0], all_tokens[2] + all_tokens[3])


def test_maps_per_step_average_to_the_mean(edit_session):
    call = {"prompt": ["a dog", "a red cat"], "record_attention": True}
    steps = edit_session(**call, attention_per_step=True).attention.image(1)["cat"]
    assert steps.shape == (1, 4, 4, 4)
    mean = edit_session(**call).attention.image(1)["cat"]
    assert torch.allclose(steps.mean(1), mean, atol=1e-6)


def test_an_edit_records_its_edited_maps_by_itself(edit_session, make_method):
    result = edit_session(make_method(Mute), prompt="a dog")
    assert float(result.attention["dog"].max()) == 0
    assert float(result.attention["a"].min()) > 0
    assert float(result.attention.branch("source")["cat"].min()) > 0
    assert result.attention.branch("source").words == ("a", "red", "cat")


def test_not_recorded_unless_asked(edit_session, make_method):
    with pytest.raises(NotOfferedError, match=r"record_attention=True"):
        edit_session().attention  # noqa: B018
    with pytest.raises(NotOfferedError):
        edit_session(make_method(Mute), record_attention=False).attention  # noqa: B018


def test_unknown_words_and_branches_list_the_known(edit_session):
    maps = edit_session(prompt="a dog on grass", record_attention=True).attention
    with pytest.raises(UnknownWordError, match=r"'cat' is not in the prompt.*'dog'"):
        maps["cat"]
    with pytest.raises(InvalidRequestError, match=r"No branch 'sorce'. Valid: 'main'"):
        maps.branch("sorce")


def test_recording_changes_no_image(edit_session):
    plain, recorded = edit_session(), edit_session(record_attention=True)
    assert torch.equal(plain.images[0], recorded.images[0])
