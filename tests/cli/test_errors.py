from __future__ import annotations

import json

import pytest

EDIT = ("edit", "fake-swap", "--source", "a cat", "--seed", "7", "--steps", "2")


@pytest.mark.parametrize(
    ("tokens", "parts"),
    [
        (("edit", "fake-swop", "-o", "out"), ("'fake-swop'", "Did you mean 'fake-swap'")),
        ((*EDIT, "-o", "out"), ("--prompt",)),
        ((*EDIT, "--prompt", "a dog"), ("--output",)),
        ((*EDIT, "--prompt", "a dog", "-o", "out", "--sed", "1"), ("--sed", "--seed")),
        ((*EDIT, "--prompt", "a dog", "-o", "out", "--mode", "x"), ('"soft"', '"hard"')),
        ((*EDIT, "--prompt", "a dog", "-o", "out", "--reweight", "dog"), ("key=value",)),
        ((*EDIT, "--prompt", "a dog", "-o", "out", "--reweight", "dog=x"), ("--reweight.dog",)),
        ((*EDIT, "--prompt", "a dog", "-o", "out", "--span", "x"), ("--span", "number", "'x'")),
        ((*EDIT, "--prompt", "a dog", "-o", "out", "--window.end", "3"), ("--window.end", "1")),
        ((*EDIT, "--prompt", "a dog", "-o", "out", "--span", "1", "--span", "a=1"), ("not both",)),
        ((*EDIT, "--prompt", "a dog", "-o", "out", "--reweight", "cow=2"), ("'cow'", "'dog'")),
        ((*EDIT, "--prompt", " ", "-o", "out"), ("prompt is empty",)),
        ((*EDIT, "--prompt", "a dog", "-o", "out", "--width", "33"), ("width=33", "multiple")),
        ((*EDIT, "--prompt", "a dog", "-o", "out", "--device", "gpu"), ("--device gpu", "cuda:0")),
        ((*EDIT, "--prompt", "a dog", "-o", "out", "--engine", "torch"), ("'torch'", "'pytorch'")),
        (("edit", "fake-broken", "-o", "out"), ("cannot be imported", "Reinstall")),
        (("generate", "-o", "a.png"), ("PROMPT",)),
        (("generate", "a cat", "-o", "a.gif"), (".png",)),
        (("attention", "a cat", "--word", "dog", "-o", "a.png"), ("'dog'", "'cat'")),
        (("replay", "none.json", "-o", "out"), ("none.json", "No such file")),
        (("generat", "a cat"), ("generate",)),
        (("plugins", "info", "fake-swop"), ("fake-swap",)),
    ],
)
def test_bad_input_is_told_and_writes_nothing(cli, model, names, tokens, parts):
    loads = {"edit", "generate", "attention"} & set(tokens[:1])
    code, out, err = cli(*tokens, *(("--model", model) if loads else ()))
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    for part in parts:
        assert part in err
    assert names() == []


def test_unknown_model(cli, names):
    code, _, err = cli("generate", "a cat", "--model", "nope", "-o", "a.png")
    assert code == 2
    assert "'nope'" in err
    assert names() == []


def test_output_that_is_a_file(swap, tmp_path, names):
    (tmp_path / "out").write_text("mine")
    code, _, err = swap("-o", "out")
    assert code == 2
    assert "out is a file" in err
    code, _, err = swap("-o", "out/deeper")
    assert code == 2
    assert (tmp_path / "out").read_text() == "mine"
    assert names() == ["out"]


def test_output_that_is_a_folder(cli, model, tmp_path):
    code, _, err = cli("generate", "a cat", "--model", model, "-o", str(tmp_path))
    assert code == 2
    assert "is a folder" in err


@pytest.mark.parametrize("tokens", [("edit", "none"), ("generate", "--colour", "red"), ("edt",)])
def test_errors_as_json(cli, tokens):
    code, out, err = cli(*tokens, "--json")
    error = json.loads(out)["error"]
    assert code == 2
    assert err == ""
    assert error["type"].endswith("Error")
    assert error["message"]


def test_notes_name_the_plugin(swap, names):
    code, _, err = swap("-o", "out", "--fail", "on purpose")
    assert code == 2
    assert "failed on purpose" in err
    assert "raised by plugin 'fake-swap' in hook 'after_step', step 1" in err
    assert names() == []


def test_a_bug_keeps_its_traceback(swap, names):
    with pytest.raises(ZeroDivisionError) as caught:
        swap("-o", "out", "--fail", "bug")
    assert "fake-swap" in caught.value.__notes__[0]
    assert names() == []


def test_interruption(swap, names):
    code, out, err = swap("-o", "out", "--fail", "interrupt")
    assert code == 130
    assert out == ""
    assert "nothing was written" in err
    assert names() == []


def test_a_refused_write_leaves_nothing(swap, tmp_path, names):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sheet.png").mkdir()
    code, _, err = swap("-o", "out")
    assert code == 2
    assert "Cannot write" in err
    assert not [name for name in names() if name.endswith(".part")]
