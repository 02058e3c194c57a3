"""The commands, on a tiny checkpoint."""

import json
from pathlib import Path

import pytest
from underpaint.cli import main
from underpaint_pix2pix_zero import Direction


@pytest.fixture
def cli(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*tokens):
        code = main(list(tokens))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_direction_is_made_and_edits_a_picture(cli, tiny_model):
    words = ("--source-word", "cat", "--target-word", "dog", "-o", "d.safetensors", "--json")
    code, out, err = cli("pix2pix-zero", "direction", *words, "--model", tiny_model)
    assert code == 0, err
    facts = json.loads(out)["direction"]
    assert facts["sentences"] == [36, 36]
    assert Direction.load(Path("d.safetensors")).facts.model_dump(mode="json") == facts
    call = ("--prompt", "a cat on grass", "--steps", "2", "--seed", "1", "--no-sheet")
    code, _, err = cli(
        *("edit", "pix2pix-zero", "--direction", "d.safetensors", *call),
        *("--model", tiny_model, "-o", "out"),
    )
    assert code == 0, err
    assert Path("out/edit.png").exists()
    assert Path("out/reference.png").exists()


def test_sentences_become_the_banks_of_a_direction(cli, tiny_model):
    code, out, _ = cli("pix2pix-zero", "sentences", "owl", "--template", "a ... in blue")
    assert (code, out) == (0, "an owl in blue\n")
    for name in ("cat", "dog"):
        Path(f"{name}.txt").write_text(f"a {name}\ntwo {name}s\n")
    files = ("--source-file", "cat.txt", "--target-file", "dog.txt", "-o", "d.safetensors")
    code, out, err = cli("pix2pix-zero", "direction", *files, "--json", "--model", tiny_model)
    assert code == 0, err
    assert json.loads(out)["direction"]["sentences"] == [2, 2]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--source-word", "cat", "-o", "d.safetensors"), "--target-word"),
        (("--source-word", "cat", "--target-word", "dog", "-o", "d.pt"), ".safetensors"),
    ],
)
def test_what_cannot_be_used_is_said(cli, given, said):
    code, _, err = cli("pix2pix-zero", "direction", *given)
    assert code == 2
    assert said in err
