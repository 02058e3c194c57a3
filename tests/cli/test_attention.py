from __future__ import annotations

import json

import pytest
from PIL import Image
from underpaint.commands.attention import choose_steps

FLAGS = ("--seed", "7", "--steps", "8")


def size(path):
    with Image.open(path) as image:
        return image.size


def test_sheet_of_all_words(cli, model, tmp_path):
    prompt = "a red cat and a blue bus"
    code, out, _ = cli("attention", prompt, *FLAGS, "--model", model, "-o", "heat.png", "--json")
    data = json.loads(out)
    assert code == 0
    assert data["words"] == ["a", "red", "cat", "and", "blue", "bus"]
    assert size(tmp_path / "heat.png")[0] > 1000


def test_steps_take_a_column_each_and_words_a_row(cli, model, tmp_path):
    common = ("attention", "a red cat", *FLAGS, "--model", model, "--per-step", "--word")
    assert cli(*common, "cat", "-o", "one.png")[0] == 0
    assert cli(*common, "cat", "--word", "red cat", "--word", "red", "-o", "three.png")[0] == 0
    one, three = size(tmp_path / "one.png"), size(tmp_path / "three.png")
    assert one[0] == three[0]
    assert three[1] > one[1]


def test_words_behind_the_end_of_a_long_prompt_are_left_out(cli, model):
    prompt = "a cat " + "zzzzzzzzzz " * 12 + "dog"
    code, _, err = cli("attention", prompt, *FLAGS, "--model", model, "-o", "heat.png")
    assert code == 0
    assert "Shorten the prompt" in err


@pytest.mark.parametrize(("steps", "chosen"), [(1, [0]), (3, [0, 1, 2]), (50, [0, 12, 24, 37, 49])])
def test_chosen_steps_hold_the_first_and_the_last(steps, chosen):
    assert choose_steps(steps) == chosen
