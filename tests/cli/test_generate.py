from __future__ import annotations

import json

from PIL import Image


def test_writes_one_picture(cli, model, names):
    code, out, err = cli(
        "generate", "a cat", "--seed", "7", "--steps", "2", "--model", model, "-o", "new/cat.png"
    )
    assert (code, out, err) == (0, "new/cat.png\n", "")
    assert names() == ["new/cat.png"]


def test_seeds_make_numbered_pictures_and_json(cli, model, names):
    code, out, _ = cli(
        *("generate", "a cat", "--seed", "1", "--seed", "5", "--steps", "2"),
        *("--model", model, "-o", "cat.png", "--json"),
    )
    data = json.loads(out)
    assert code == 0
    assert data["seeds"] == [1, 5]
    assert data["files"] == names() == ["cat-1.png", "cat-2.png"]
    assert len(data["timings"]["steps"]) == 2
    assert data["recipe"]["num_inference_steps"] == 2


def test_num_images_take_the_next_seeds(cli, model):
    _, out, _ = cli(
        *("generate", "a cat", "--seed", "3", "--num-images", "2", "--steps", "1"),
        *("--model", model, "-o", "cat.png", "--json"),
    )
    assert json.loads(out)["seeds"] == [3, 4]


def test_several_prompts_share_a_seed(cli, model):
    _, out, _ = cli(
        *("generate", "a cat", "a dog", "--seed", "3", "--steps", "1"),
        *("--model", model, "-o", "x.png", "--json"),
    )
    data = json.loads(out)
    assert data["seeds"] == [3, 3]
    assert data["recipe"]["prompt"] == ["a cat", "a dog"]


def test_png_carries_its_recipe_and_a_jpeg_is_a_jpeg(cli, model, tmp_path):
    for name in ("cat.png", "cat.jpg"):
        cli("generate", "a cat", "--seed", "7", "--steps", "1", "--model", model, "-o", name)
    with Image.open(tmp_path / "cat.png") as image:
        assert json.loads(image.info["underpaint"])["prompt"] == ["a cat"]
        assert image.size == (32, 32)
    with Image.open(tmp_path / "cat.jpg") as image:
        assert image.format == "JPEG"


def test_stdout_is_json_alone_in_a_process(outside, model):
    done = outside(
        *("-m", "underpaint", "generate", "a cat", "--steps", "1"),
        *("--model", model, "-o", "cat.png", "--json"),
    )
    assert json.loads(done.stdout)["engine"] == "pytorch"
