"""The commands, on a tiny checkpoint with a CLIP of random weights."""

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from underpaint_asyrp import Attribute
from underpaint_asyrp.window import Curves

ROOT = str(Path(__file__).parents[3])
TEXTS = ("--source", "a ... in grass", "--target", "a ... in blue", "--subject", "cat")
SHORT = ("--steps", "4", "--pictures", "2", "--batch", "1", "--epochs", "1")
WINDOW = ("--t-edit", "400", "--t-boost", "100")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    if ROOT not in sys.path:
        sys.path.append(ROOT)
    from tests.tiny_checkpoints import save_tiny_checkpoint, save_tiny_clip

    folder = tmp_path_factory.mktemp("asyrp") / "tiny"
    return str(save_tiny_clip(save_tiny_checkpoint(folder, "tiny-vae")))


def test_a_trained_attribute_edits_a_picture(cli, model):
    train = ("asyrp", "train", *TEXTS, *SHORT, *WINDOW, "-o", "blue.safetensors", "--json")
    code, out, err = cli(*train, "--model", model)
    assert code == 0, err
    facts = json.loads(out)["attribute"]
    assert (facts["t_edit"], facts["t_boost"], facts["training"]["updates"]) == (400, 100, 4)
    assert Attribute.load("blue.safetensors").facts.model_dump(mode="json") == facts
    assert not list(Path().glob("*.training.*"))
    code, out, err = cli(
        *("edit", "asyrp", "--attributes", "blue.safetensors=2", "--prompt", "a cat in grass"),
        *("--steps", "4", "--seed", "1", "--no-sheet", "--model", model, "-o", "out"),
    )
    assert code == 0, err
    assert Path("out/edit.png").exists()


def test_an_interrupted_training_goes_on(cli, model, monkeypatch):
    from underpaint_asyrp.training import trainer

    train = ("asyrp", "train", *TEXTS, *SHORT, *WINDOW, "-o", "blue.safetensors", "--model", model)
    assert cli(*train, "--quiet")[0] == 0
    whole = Path("blue.safetensors").read_bytes()
    Path("blue.safetensors").unlink()
    walk, walked = trainer._walk, []

    def interrupted(*given):
        if walked:
            raise KeyboardInterrupt
        walked.append(given)
        walk(*given)

    monkeypatch.setattr(trainer, "_walk", interrupted)
    code, _, err = cli(*train, "--quiet")
    assert code == 130
    assert "blue.training.safetensors" in err
    assert not Path("blue.safetensors").exists()
    monkeypatch.setattr(trainer, "_walk", walk)
    assert cli(*train, "--quiet")[0] == 0
    assert Path("blue.safetensors").read_bytes() == whole


def test_the_window_of_pictures(cli, model):
    for number in range(2):
        pixels = torch.rand(32, 32, 3, generator=torch.Generator().manual_seed(number))
        Image.fromarray((pixels * 255).byte().numpy()).save(f"{number}.png")
    call = ("asyrp", "window", "0.png", "1.png", "--prompt", "a cat", "--steps", "4")
    code, out, err = cli(*call, "--target", "a dog", "--json", "--model", model)
    assert code == 0, err
    told = json.loads(out)
    assert told["t_edit"] in told["levels"]
    assert told["t_boost"] in told["levels"]
    assert len(told["predicted"]) == len(told["noised"]) == len(told["levels"]) == 3
    code, out, _ = cli(*call, "--model", model)
    assert code == 0
    assert "t_boost" in out


def test_a_window_that_is_not_given_is_measured(cli, model):
    train = ("asyrp", "train", *TEXTS, *SHORT, "-o", "blue.safetensors", "--json")
    code, out, err = cli(*train, "--model", model)
    assert code == 0, err
    facts = json.loads(out)["attribute"]
    assert facts["t_edit"] in (251, 501, 751)
    assert facts["t_boost"] in (251, 501, 751)


def test_a_measured_window_that_cannot_be_used_is_refused(cli, model, monkeypatch):
    monkeypatch.setattr(Curves, "t_boost", lambda self: self.t_edit() + 1)
    code, _, err = cli("asyrp", "train", *TEXTS, *SHORT, "-o", "blue.safetensors", "--model", model)
    assert code == 2
    assert "is above t_edit" in err
    assert not list(Path().glob("*.safetensors"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((*TEXTS, "-o", "blue.png"), ".safetensors"),
        ((*TEXTS, "-o", "blue.safetensors", "--epochs", "0"), "--epochs"),
        ((*TEXTS[:4], "-o", "blue.safetensors"), "subjects"),
    ],
)
def test_what_cannot_be_used_is_said_before_any_work(cli, model, given, said):
    code, _, err = cli("asyrp", "train", *given, *WINDOW, "--model", model)
    assert code == 2
    assert said in err
