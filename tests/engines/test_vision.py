"""A scorer from any folder of transformers: what DINO, DINOv2 and CLIP compute, with gradients."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from torch.nn import functional as F
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel
from underpaint import Pipeline, hookimpl
from underpaint.errors import ModelLoadError, NotOfferedError
from underpaint_engines import pytorch, scorer
from underpaint_engines.vision import IMAGENET, load_scorer

from tests.tiny_checkpoints import save_tiny_clip

KIND = "tiny-vae"
CPU = torch.device("cpu")
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
    "initializer_range": 0.3,
}


def save_dino(folder):
    vit = ViTModel(ViTConfig(intermediate_size=32, **SIZES), add_pooling_layer=False)
    vit.save_pretrained(folder)
    return folder


def save_dinov2(folder):
    Dinov2Model(Dinov2Config(**SIZES)).save_pretrained(folder)
    return folder


KINDS = {"vit": (save_dino, ViTModel), "dinov2": (save_dinov2, Dinov2Model)}


def images(count=2, size=(32, 32), seed=0):
    return torch.rand(count, 3, *size, generator=torch.manual_seed(seed))


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    return KINDS[request.param][0](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def clip_folder(checkpoint, tmp_path_factory):
    """Return a CLIP with its tokenizer beside its weights, as openai/clip-... has it."""
    whole = shutil.copytree(checkpoint(KIND), tmp_path_factory.mktemp("m") / "model")
    save_tiny_clip(whole)
    shutil.copytree(whole / "tokenizer", whole / "clip", dirs_exist_ok=True)
    return whole


def test_keys_and_cls_are_what_the_last_block_computes(folder):
    kind = json.loads((folder / "config.json").read_text())["model_type"]
    vit = KINDS[kind][1].from_pretrained(folder).eval()
    blocks = vit.layers if kind == "vit" else vit.encoder.layer
    seen = {}
    blocks[-1].attention.k_proj.register_forward_hook(lambda _m, _i, out: seen.update(keys=out))
    blocks[-1].register_forward_hook(lambda _m, _i, out: seen.update(after=out))
    mean, deviation = (torch.tensor(values)[:, None, None] for values in IMAGENET)
    vit((images() - mean) / deviation)
    keys, cls = load_scorer(folder, CPU).vit_features(images())
    torch.testing.assert_close(keys, seen["keys"])
    torch.testing.assert_close(cls, seen["after"][:, 0])
    assert keys.shape == (2, 17, 16)


def test_gradients_are_those_of_finite_differences(folder):
    found = load_scorer(folder, CPU)
    given = images().requires_grad_()

    def value(pixels):
        keys, cls = found.vit_features(pixels)
        return (keys.square().sum() + cls.sum()).double()

    (gradient,) = torch.autograd.grad(value(given), given)
    way = images(seed=5) - 0.5
    with torch.no_grad():
        ends = [value(given + e * way) for e in (1e-2, -1e-2)]
    expected = (ends[0] - ends[1]) / 2e-2
    assert torch.isclose((gradient * way).sum().double(), expected, rtol=0.02)


def test_the_preprocessor_says_how_pixels_are_normalised(tmp_path):
    folder = save_dino(tmp_path / "vit")
    plain = load_scorer(folder, CPU).vit_features(images())[1]
    other = shutil.copytree(folder, tmp_path / "other")
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (other / "preprocessor_config.json").write_text(json.dumps(half))
    mean, deviation = (torch.tensor(values)[:, None, None] for values in IMAGENET)
    moved = ((images() - 0.5) / 0.5) * deviation + mean
    torch.testing.assert_close(
        load_scorer(other, CPU).vit_features(images())[1],
        load_scorer(folder, CPU).vit_features(moved)[1],
    )
    assert not torch.allclose(load_scorer(other, CPU).vit_features(images())[1], plain, atol=1e-2)


def test_the_distance_is_nought_for_equal_images(folder):
    found = load_scorer(folder, CPU)
    assert torch.equal(found.distance(images(), images()), torch.zeros(2))
    assert (found.distance(images(), images(seed=1)) > 0).all()


def test_a_vit_has_no_texts(folder):
    found = load_scorer(folder, CPU)
    for call in (lambda: found.text_features(["a cat"]), lambda: found.image_features(images())):
        with pytest.raises(NotOfferedError, match="folder of a CLIPModel"):
            call()


def test_a_clip_with_its_own_tokenizer_is_the_checkpoints(clip_folder):
    own, checkpoints = load_scorer(clip_folder / "clip", CPU), scorer.load(clip_folder, CPU)
    prompts = ["a red cat", ""]
    assert torch.equal(own.text_features(prompts), checkpoints.text_features(prompts))
    assert torch.equal(own.image_features(images()), checkpoints.image_features(images()))
    torch.testing.assert_close(own.image_features(images()).norm(dim=-1), torch.ones(2))


def test_a_folder_is_loaded_once(folder):
    assert load_scorer(folder, CPU) is load_scorer(folder, CPU)


class Looks:
    """Reports what another ViT says of the image."""

    def __init__(self, folder):
        self.folder = folder

    @hookimpl(wrapper=True)
    def decode(self, run):
        pictures = yield
        _, cls = run.load_scorer(self.folder).vit_features(pictures)
        run.report("cls", cls.tolist())
        return pictures


def test_a_run_loads_one(folder, checkpoint, make_method):
    pipe = Pipeline(pytorch.load(checkpoint(KIND), name=KIND))
    edit = make_method(lambda: Looks(folder))
    result = pipe("a cat", edits=[edit], num_inference_steps=1, output_type="pt", seed=1)
    expected = load_scorer(folder, CPU).vit_features(result.images[0][None])[1][0]
    torch.testing.assert_close(torch.tensor(result.reports["cls"][0]), expected)
    assert F.cosine_similarity(expected, expected, dim=0) > 0  # and is no zero vector


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no folder"),
        ({}, "config.json"),
        (
            {"config.json": '{"model_type": "bert"}'},
            r"holds a 'bert'.*Valid: 'clip', 'dinov2', 'vit'",
        ),
        ({"config.json": '{"model_type": "vit"}'}, "cannot be loaded"),
    ],
)
def test_what_is_no_such_folder_is_refused(tmp_path, content, message):
    folder = tmp_path / "given"
    for name, text in (content or {}).items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    if content == {}:
        folder.mkdir()
    with pytest.raises(ModelLoadError, match=message):
        load_scorer(folder, CPU)
