from __future__ import annotations

import json
import shutil

import pytest


@pytest.mark.parametrize("recipe", ["out/result.json", "out/edit.png"])
def test_replay_repeats_every_byte(swap, cli, model, tmp_path, recipe):
    swap("-o", "out", "--prompt", "a red ball") if recipe.endswith("json") else swap("-o", "out")
    code, _, err = cli("replay", recipe, "-o", "again", "--model", model)
    assert code == 0, err
    pictures = sorted((tmp_path / "out").glob("*.png"))
    assert len(pictures) >= 3
    for picture in pictures:
        assert (tmp_path / "again" / picture.name).read_bytes() == picture.read_bytes()


def test_replay_finds_the_model_by_itself(swap, cli, record):
    swap("-o", "out", "--no-sheet")
    assert cli("replay", "out/result.json", "-o", "again")[0] == 0
    assert record("again/result.json")["recipe"] == record()["recipe"]


def test_replay_of_a_generated_picture(cli, model, names, tmp_path):
    flags = ("--seed", "7", "--steps", "2", "--model", model)
    cli("generate", "a cat", *flags, "-o", "cat.png")
    code, _, _ = cli("replay", "cat.png", "--model", model, "-o", "again")
    assert code == 0
    assert names() == ["again/image.png", "again/result.json", "cat.png"]
    assert (tmp_path / "again/image.png").read_bytes() == (tmp_path / "cat.png").read_bytes()


def test_another_model_is_refused(swap, cli, model, names, tmp_path, record):
    swap("-o", "out", "--no-sheet")
    data = record()
    data["recipe"]["model_digest"] = "0" * 64
    (tmp_path / "changed.json").write_text(json.dumps(data))
    shutil.rmtree(tmp_path / "out")
    code, _, err = cli("replay", "changed.json", "-o", "again")
    assert code == 2
    assert "made with" in err
    assert names() == ["changed.json"]


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"recipe": {"model": "x"}}'])
def test_what_is_no_recipe(cli, tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    code, _, err = cli("replay", "result.json", "-o", "again")
    assert code == 2
    assert "no recipe" in err
