"""``--trace-hooks``: a table on stderr and the steps in JSON, on each command that runs a model."""

from __future__ import annotations

import json

import pytest
from PIL import Image


def test_an_edit_shows_a_table_and_keeps_the_steps(swap, record):
    code, out, err = swap("-o", "out", "--trace-hooks")
    assert code == 0
    assert "fake-swap" in err
    assert "(outside of hooks)" in err
    assert "share" in err
    assert "share" not in out
    entries = record()["hook_times"]
    own = [e for e in entries if e["plugin"] == "core" and e["hook"] == "predict"]
    assert [e["step"] for e in own] == [0, 1, 2]
    assert {e["calls"] for e in own} == {1}  # the sheet's second run is not among them


def test_without_the_flag_there_is_nothing(swap, record):
    _, _, err = swap("-o", "out", "--no-sheet")
    assert "(outside of hooks)" not in err
    assert "hook_times" not in record()


def test_quiet_keeps_it_in_json_alone(swap):
    _, out, err = swap("-o", "out", "--no-sheet", "--trace-hooks", "--quiet", "--json")
    assert "(outside of hooks)" not in err
    assert json.loads(out)["hook_times"]


@pytest.mark.parametrize(
    ("command", "stage"),
    [
        (("generate", "a dog on grass", "-o", "a.png", "--seed", "1"), "edit"),
        (("attention", "a dog on grass", "-o", "a.png", "--seed", "1"), "edit"),
        (("invert", "a.jpg", "a dog on grass", "-o", "a.safetensors"), "inversion"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_other_commands_have_it_too(cli, model, tmp_path, command, stage):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "a.jpg")
    flags = ("--steps", "2", "--model", model, "--trace-hooks", "--json")
    code, out, err = cli(*command, *flags)
    assert code == 0, out
    assert {entry["stage"] for entry in json.loads(out)["hook_times"]} == {stage}
    assert "predict" in err
