"""The tokenizer: loads as CLIP's, keeps every word, cuts some in two."""

import pytest
from underpaint_picturebook import tokenizer
from underpaint_picturebook.world import scene


@pytest.fixture(scope="module")
def tokens():
    return tokenizer.build()


def test_saved_and_loaded_gives_the_same_ids(tokens, tmp_path):
    from transformers import AutoTokenizer, CLIPTokenizer

    tokens.save_pretrained(tmp_path)
    text = "a red zebra, a watercolour of an umbrella (é)"
    for loader in (CLIPTokenizer, AutoTokenizer):
        loaded = loader.from_pretrained(tmp_path)
        assert loaded(text).input_ids == tokens(text).input_ids
        assert loaded.model_max_length == 77


def test_captions_survive_the_round_trip(tokens):
    for seed in range(50):
        caption = scene(seed).caption
        decoded = tokens.decode(tokens(caption).input_ids, skip_special_tokens=True)
        assert decoded.replace(" ,", ",").strip() == caption


def test_words_are_one_token_except_the_chosen_ones(tokens):
    cut = {piece.replace("|", "") for piece in tokenizer.PIECES}
    for word in tokenizer.words():
        assert len(tokens.tokenize(word)) == (2 if word in cut else 1), word
    assert {"mushroom", "umbrella", "watercolour"} <= cut


def test_unknown_words_fall_apart_into_known_pieces(tokens):
    pieces = tokens.tokenize("zebra 42 ¿œ")
    assert len(pieces) > 3
    assert tokenizer.END not in pieces


def test_padding_is_the_end_token_and_length_is_77(tokens):
    ids = tokens("a red cat", padding="max_length").input_ids
    assert len(ids) == 77
    assert ids[0] == tokens.bos_token_id
    assert set(ids[4:]) == {tokens.eos_token_id}
    assert tokens.pad_token_id == tokens.eos_token_id
