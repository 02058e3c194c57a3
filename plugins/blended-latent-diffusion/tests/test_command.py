"""The method on the command line, with a model that tests can afford."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from underpaint import cli
from underpaint.pipeline import Pipeline
from underpaint.testing import toy_pipeline


@pytest.fixture
def edit(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Pipeline, "from_pretrained", lambda *args, **kwargs: toy_pipeline())
    values = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(values).save("photo.png")
    mask = Image.new("L", (32, 32))
    mask.paste(255, (8, 4, 16, 12))
    mask.save("mask.png")

    def run(*flags):
        command = ["edit", "blended-latent-diffusion", "--image", "photo.png"]
        code = cli.main([*command, "--prompt", "a dog", "--seed", "3", "-o", "out", *flags])
        return code, capsys.readouterr().err

    return run


def test_a_mask_s_file(edit, tmp_path):
    code, err = edit("--mask", "mask.png", "--noise-mode", "fixed", "--shrink", "3")
    assert code == 0, err
    given, made = (np.asarray(Image.open(name)) for name in ("photo.png", "out/edit.png"))
    outside = np.asarray(Image.open("mask.png")) == 0
    assert np.array_equal(given[outside], made[outside])
    assert not np.array_equal(given, made)
    [described] = json.loads((tmp_path / "out/result.json").read_text())["recipe"]["edits"]
    assert described["mask"] == str(tmp_path / "mask.png")
    assert (described["noise_mode"], described["shrink"]) == ("fixed", 3)
    assert (tmp_path / "out/sheet.png").exists()


def test_a_replay_finds_the_mask(edit, tmp_path, monkeypatch):
    assert edit("--mask", "mask.png", "--no-sheet")[0] == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert cli.main(["replay", "../out/result.json", "-o", "again"]) == 0
    first, again = (tmp_path / name / "edit.png" for name in ("out", "elsewhere/again"))
    assert torch.equal(*(torch.from_numpy(np.array(Image.open(p))) for p in (first, again)))


def test_a_box(edit):
    code, err = edit("--box", "0.25", "0.25", "0.75", "0.75", "--no-sheet")
    assert code == 0, err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mask", "absent.png"], "there is no file"),
        ([], "nothing says where"),
        (["--mask", "mask.png", "--box", "0", "0", "1", "0.5"], "both say where to edit"),
        (["--mask", "mask.png", "--convention", "grey"], "convention"),
        (["--mask", "mask.png", "--rank"], "no scorer"),
    ],
)
def test_bad_input_is_explained(edit, tmp_path, flags, message):
    code, err = edit(*flags)
    assert code == 2
    assert message in " ".join(err.split())
    assert not (tmp_path / "out").exists()
