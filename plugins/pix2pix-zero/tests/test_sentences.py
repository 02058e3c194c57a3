"""Templates, swaps and banks' files."""

import pytest
import torch
from underpaint.errors import InvalidRequestError, UnknownWordError
from underpaint.testing import toy_pipeline
from underpaint_pix2pix_zero import Direction, DirectionFacts, UnusableDirectionError
from underpaint_pix2pix_zero.direction import mean_embedding
from underpaint_pix2pix_zero.sentences import TEMPLATES, fill, read_sentences, swap


@pytest.mark.parametrize(
    ("text", "word", "other", "expected"),
    [
        ("a cat on grass", "cat", "dog", "a dog on grass"),
        ("A Cat and a cat", "cat", "owl", "An owl and an owl"),
        ("an owl", "owl", "cat", "a cat"),
        ("the cat, a catalogue", "cat", "dog", "the dog, a catalogue"),
        ("a red bus", "red bus", "old car", "an old car"),
    ],
)
def test_a_word_is_swapped_with_its_article(text, word, other, expected):
    assert swap(text, word, other) == expected


def test_a_word_that_is_not_there():
    with pytest.raises(UnknownWordError, match="'cat' does not stand in 'a catalogue'"):
        swap("a catalogue", "cat", "dog")


def test_templates_are_filled():
    assert fill(("a ...", "two ...s"), "owl") == ("an owl", "two owls")
    assert len(set(fill(TEMPLATES, "cat"))) == len(TEMPLATES) == 36
    with pytest.raises(InvalidRequestError, match=r"has no \.\.\."):
        fill(("a cat",), "dog")
    with pytest.raises(InvalidRequestError, match="empty"):
        fill(TEMPLATES, " ")


def test_a_file_of_sentences(tmp_path):
    file = tmp_path / "cats.txt"
    file.write_text("a cat\n\n two cats \n")
    assert read_sentences(file) == ["a cat", "two cats"]
    file.write_text("\n")
    with pytest.raises(InvalidRequestError, match="holds no sentence"):
        read_sentences(file)
    with pytest.raises(InvalidRequestError, match="cannot be read"):
        read_sentences(tmp_path / "none.txt")


def test_a_bank_is_the_mean_of_its_sentences():
    engine = toy_pipeline().engine
    texts = [f"a cat {number}" for number in range(20)]

    def encode(some):
        return engine.encode_text(engine.tokenize(some))

    heard = []
    mean = mean_embedding(encode, texts, heard.append)
    assert torch.allclose(mean, encode(texts).mean(0), atol=1e-6)
    assert heard == [16, 20]


def test_a_direction_is_read_as_it_was_written(tmp_path):
    facts = DirectionFacts(model="m", model_digest="d" * 64, source="cat", target="dog")
    path = tmp_path / "d.safetensors"
    Direction(facts, torch.ones(3, 2), torch.arange(6.0).view(3, 2)).save(path)
    read = Direction.load(path)
    assert read.facts == facts
    assert torch.equal(read.difference, torch.arange(6.0).view(3, 2) - 1)
    with pytest.raises(UnusableDirectionError, match="make it again"):
        read.check("d.safetensors", toy_pipeline().engine.info)
    path.write_bytes(b"nothing")
    with pytest.raises(UnusableDirectionError, match="no direction that can be read"):
        Direction.load(path)
    Direction(facts, torch.ones(3, 2), torch.full((3, 2), torch.nan)).save(path)
    with pytest.raises(UnusableDirectionError, match="NaN"):
        Direction.load(path)
