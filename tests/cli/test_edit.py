from __future__ import annotations

import json
from inspect import signature

import pytest
from PIL import Image
from pydantic import Field, create_model
from underpaint.commands.edit import edit
from underpaint.commands.options import COMMON_FLAGS
from underpaint.commands.parameters import add_flags
from underpaint.commands.plan import plan
from underpaint.method import Method

FILES = ["out/edit.png", "out/result.json", "out/sheet.png", "out/source.png"]


def test_writes_pictures_sheet_and_record(swap, names, record):
    code, out, err = swap("-o", "out")
    assert code == 0
    assert sorted(out.split()) == names() == FILES
    assert "a plugin that prints" in err
    assert "Warning: a warning" in err
    data = record()
    assert data["seeds"] == [7]
    assert data["model"]["name"] == "tiny"
    assert len(data["model"]["digest"]) == 64
    assert data["warnings"] == ["a warning"]
    assert data["reports"] == {"fake.mean": [0.5]}  # tensors are no JSON
    assert data["recipe"]["edits"][0]["method"] == "fake-swap"


def test_json_on_stdout_is_the_record(swap, record):
    code, out, _ = swap("-o", "out", "--json")
    assert code == 0
    assert json.loads(out) == record()


def test_method_changes_the_picture(swap, cli, model, tmp_path):
    swap("-o", "out", "--no-sheet", "--quiet")
    flags = ("--seed", "7", "--steps", "3", "--model", model, "-o", "plain.png")
    cli("generate", "a dog on grass", *flags)
    assert _pixels(tmp_path / "out/edit.png") != _pixels(tmp_path / "plain.png")


def test_sheet_does_not_change_the_pictures(swap, tmp_path):
    swap("-o", "with")
    swap("-o", "without", "--no-sheet")
    for name in ("edit.png", "source.png"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()


def test_several_targets_take_a_row_each(swap, names, tmp_path):
    swap("-o", "one")
    code, _, _ = swap("-o", "out", "--prompt", "a red ball on grass")
    assert code == 0
    assert [name for name in names() if name.startswith("out")] == [
        "out/edit-1.png",
        "out/edit-2.png",
        "out/result.json",
        "out/sheet.png",
        "out/source.png",
    ]
    one, two = (_size(tmp_path / folder / "sheet.png") for folder in ("one", "out"))
    assert two[0] == one[0]
    assert two[1] > 1.7 * one[1]


def test_other_seeds_have_other_sources(swap, names):
    swap("-o", "out", "--num-images", "2", "--no-sheet")
    assert {"out/source-1.png", "out/source-2.png"} < set(names())


def test_method_without_source(cli, model, names, tmp_path):
    code, _, _ = cli(
        *("edit", "fake-scale", "--factor", "0.5", "--prompt", "a cat", "--seed", "7"),
        *("--steps", "2", "--model", model, "-o", "out"),
    )
    assert code == 0
    assert names() == ["out/edit.png", "out/result.json", "out/sheet.png"]
    assert _size(tmp_path / "out/sheet.png")[0] < 1000  # two panels


def test_existing_folder_is_reused(swap, tmp_path, names):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    assert swap("-o", "out")[0] == 0
    assert names() == sorted([*FILES, "out/mine.txt"])


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        (("--reweight", "dog=0.5", "--reweight", "on=2"), "reweight", {"dog": 0.5, "on": 2}),
        (("--reweight", '{"dog": 0.5}'), "reweight", {"dog": 0.5}),
        (("--span", "0.5"), "span", 0.5),
        (("--span", "[0.1, 0.5]"), "span", [0.1, 0.5]),
        (("--span", "0.1", "--span", "0.5"), "span", [0.1, 0.5]),
        (("--span", "dog=0.5"), "span", {"dog": 0.5}),
        (("--mode", "hard"), "mode", "hard"),
        (("--window.end", "0.5"), "window", {"start": 0, "end": 0.5}),
        (("--window", '{"end": 0.5}'), "window", {"start": 0, "end": 0.5}),
        (("--window",), "window", {"start": 0, "end": 0.8}),
        (("--method-steps", "4"), "steps", 4),
        ((), "window", None),
    ],
)
def test_parameters_are_flags(swap, record, flags, name, value):
    code, _, err = swap("-o", "out", "--no-sheet", *flags)
    assert code == 0, err
    assert record()["recipe"]["edits"][0][name] == value


@pytest.mark.parametrize("body", [edit, plan])
def test_a_parameter_may_have_the_name_of_any_of_the_commands_own(body):
    own = set(signature(body).parameters) - {"method"}
    assert own <= COMMON_FLAGS
    fields = {name: (float, Field(1.0, ge=0, description="Of it.")) for name in own}
    method = create_model("Clashing", __base__=Method, **fields)
    flags = signature(add_flags(method, body)).parameters
    assert {f"method_{name}" for name in own} <= set(flags)


def test_help_shows_the_parameters(cli):
    code, out, _ = cli("edit", "fake-swap", "--help")
    assert code == 0
    for text in ("--source", "How much a word counts", "KEY=VALUE", "soft, hard", "--window.end"):
        assert text in out


def test_edit_help_imports_no_method(cli):
    code, out, _ = cli("edit", "--help")
    assert code == 0
    assert "fake-broken" in out


def _pixels(path):
    with Image.open(path) as image:
        return image.tobytes()


def _size(path):
    with Image.open(path) as image:
        return image.size
