"""``underpaint plan``: the arguments of ``edit``, an explanation, and no picture."""

from __future__ import annotations

import json

from underpaint.commands.plan_tables import spans

FLAGS = ("--source", "a cat on grass", "--prompt", "a dog on grass", "--steps", "3", "--seed", "7")


def test_it_takes_edits_arguments_and_writes_nothing(cli, model, names):
    code, out, _ = cli("plan", "fake-swap", *FLAGS, "--model", model, "-o", "out", "--sheet")
    assert code == 0, out
    assert names() == []
    for text in ("Engine: pytorch", "a cat on grass", "3 denoise", "fake-swap", "UNet: 3 eval"):
        assert text in out


def test_json_holds_all_of_it(cli, model):
    code, out, _ = cli("plan", "fake-swap", *FLAGS, "--model", model, "--no-sheet", "--json")
    assert code == 0, out
    found = json.loads(out)
    assert [branch["name"] for branch in found["branches"]] == ["main", "source"]
    assert len(found["steps"]) == 3
    assert found["evaluations"]["edit"] == 3
    assert found["hooks"]["decode"] == {"core": "begins"}


def test_other_methods_are_planned_with_it(cli, model):
    flags = (*FLAGS, "--model", model, "--json")
    code, out, _ = cli("plan", "fake-swap", *flags, "--also", 'fake-scale={"factor": 0.5}')
    assert code == 0, out
    assert any("fake-scale" in roles for roles in json.loads(out)["hooks"].values())


def test_a_conflict_names_both(cli, model):
    flags = (*FLAGS, "--model", model, "--json")
    also = 'fake-swap={"source": "a cat on grass"}'
    code, out, _ = cli("plan", "fake-swap", *flags, "--also", also)
    assert code == 2
    error = json.loads(out)["error"]
    assert error["type"] == "ConflictError"
    assert "'fake-swap' and 'fake-swap#2'" in error["message"]


def test_help_shows_the_methods_parameters(cli):
    code, out, _ = cli("plan", "fake-swap", "--help")
    assert code == 0
    assert "--source" in out


def test_spans():
    assert spans([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert spans([]) == ""
