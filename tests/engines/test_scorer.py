"""The scorer of a checkpoint's `clip` folder: what transformers computes, with gradients."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer
from underpaint import Pipeline, hookimpl
from underpaint.errors import InvalidRequestError, ModelLoadError, NotOfferedError
from underpaint_engines import onnxruntime, pytorch
from underpaint_engines.bundle import read_manifest
from underpaint_engines.compiled import CompiledEngine
from underpaint_engines.fallback import Fallback
from underpaint_engines.onnxruntime import OnnxRuntime
from underpaint_engines.scorer import LazyScorer, load, normalise

from tests.tiny_checkpoints import save_tiny_clip

KIND = "tiny-vae"
CPU = torch.device("cpu")
PROMPTS = ["a red cat", "the catalogue in grass", ""]
IMAGE_CALLS = ["image_features", "vit_features", "distance"]


@pytest.fixture(scope="module")
def folder(checkpoint, tmp_path_factory):
    return save_tiny_clip(shutil.copytree(checkpoint(KIND), tmp_path_factory.mktemp("m") / "model"))


@pytest.fixture(scope="module")
def scorer(folder):
    return load(folder, CPU)


@pytest.fixture(scope="module")
def clip(folder):
    return CLIPModel.from_pretrained(folder / "clip").eval()


def images(count=3, side=32, seed=0):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def call(scorer, name, given):
    """Return what a method of the scorer makes of images; one tensor."""
    if name == "distance":
        return scorer.distance(given, images(len(given), seed=9))
    out = getattr(scorer, name)(given)
    return out if name == "image_features" else out[0]


@torch.no_grad()
def test_features_are_those_of_transformers(scorer, clip, folder):
    expected = clip.get_image_features(normalise(images())).pooler_output
    torch.testing.assert_close(scorer.image_features(images()), F.normalize(expected))
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    tokens = tokenizer(PROMPTS, padding=True, return_tensors="pt")
    expected = clip.get_text_features(**tokens).pooler_output
    got = scorer.text_features(PROMPTS)
    torch.testing.assert_close(got, F.normalize(expected))
    assert (got[0] - got[1]).abs().max() > 0.01


def test_features_have_unit_length(scorer):
    for features in (scorer.image_features(images()), scorer.text_features(PROMPTS)):
        torch.testing.assert_close(features.norm(dim=-1), torch.ones(3))


@torch.no_grad()
def test_keys_and_cls_are_what_the_last_block_computes(scorer, clip):
    seen = {}
    block = clip.vision_model.encoder.layers[-1]
    block.self_attn.k_proj.register_forward_hook(lambda *a: seen.update(keys=a[-1]))
    block.register_forward_hook(lambda *a: seen.update(block=a[-1]))
    clip.get_image_features(normalise(images()))
    keys, cls = scorer.vit_features(images())
    assert keys.shape == (3, 17, 32)
    torch.testing.assert_close(keys, seen["keys"])
    torch.testing.assert_close(cls, seen["block"][:, 0])


@torch.no_grad()
def test_the_distance_is_its_formula(scorer, clip):
    first, second = images(), images(seed=1)
    blocks = clip.vision_model.encoder.layers
    states = {0: [], 1: []}
    for which, given in enumerate((first, second)):
        hooks = [
            block.register_forward_hook(lambda *a, which=which: states[which].append(a[-1]))
            for block in blocks
        ]
        clip.get_image_features(normalise(given))
        for hook in hooks:
            hook.remove()
    expected = torch.zeros(3)
    for u, v in zip(states[0], states[1], strict=True):
        for image in range(3):
            for patch in range(1, 17):
                a, b = u[image, patch], v[image, patch]
                expected[image] += (a / a.norm() - b / b.norm()).square().sum() / 16
    torch.testing.assert_close(scorer.distance(first, second), expected)
    assert expected.min() > 0.01


@torch.no_grad()
def test_the_distance_is_nought_for_equal_images_and_symmetric(scorer):
    first, second = images(), images(seed=1)
    assert torch.equal(scorer.distance(first, first), torch.zeros(3))
    torch.testing.assert_close(scorer.distance(first, second), scorer.distance(second, first))


@pytest.mark.parametrize("name", IMAGE_CALLS)
@pytest.mark.parametrize("side", [32, 48])
def test_gradients_are_those_of_finite_differences(scorer, name, side):
    given = images(1, side).requires_grad_()
    weights = torch.randn(call(scorer, name, given).shape, generator=torch.manual_seed(3))
    (gradient,) = torch.autograd.grad((call(scorer, name, given) * weights).sum(), given)
    way = gradient.detach() / gradient.norm()
    with torch.no_grad():
        ends = [(call(scorer, name, given + e * way) * weights).sum() for e in (1e-2, -1e-2)]
    torch.testing.assert_close((ends[0] - ends[1]) / 2e-2, gradient.norm(), rtol=0.02, atol=0)


@pytest.mark.parametrize("name", IMAGE_CALLS)
@torch.no_grad()
def test_an_image_is_the_same_alone_and_in_a_batch(scorer, name):
    whole = call(scorer, name, images())
    torch.testing.assert_close(call(scorer, name, images()[:1]), whole[:1])
    assert (whole[0] - whole[1]).abs().max() > 1e-3


@torch.no_grad()
def test_any_size_is_taken(scorer):
    colour = torch.tensor([0.2, 0.5, 0.8])[:, None, None]
    own = scorer.image_features(colour.expand(1, 3, 32, 32))
    for size in ((16, 16), (200, 56)):
        torch.testing.assert_close(scorer.image_features(colour.expand(1, 3, *size)), own)


def test_what_is_made_under_inference_mode_has_gradients_later(folder):
    with torch.inference_mode():
        scorer = load(folder, CPU)
        given = images()
    leaf = given.clone().requires_grad_()
    assert torch.autograd.grad(scorer.image_features(leaf).sum(), leaf)[0].abs().max() > 0


@pytest.mark.parametrize(
    ("bad", "shown"),
    [
        (torch.zeros(3, 32, 32), r"\[3, 32, 32\]"),
        (torch.zeros(1, 4, 32, 32), r"\[1, 4, 32, 32\]"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), "uint8"),
    ],
)
@pytest.mark.parametrize("name", IMAGE_CALLS)
def test_what_is_no_image_is_refused(scorer, name, bad, shown):
    with pytest.raises(InvalidRequestError, match=rf"\[B, 3, H, W\], floats.*{shown}"):
        call(scorer, name, bad)


def test_other_bad_input_is_refused(scorer):
    with pytest.raises(InvalidRequestError, match=r"give \['a cat'\]"):
        scorer.text_features("a cat")
    with pytest.raises(InvalidRequestError, match="3 images and 2"):
        scorer.distance(images(3), images(2))


def test_a_checkpoint_may_have_none(checkpoint):
    assert pytorch.load(checkpoint(KIND), name=KIND).scorer() is None


def test_it_is_loaded_once_and_changes_no_digest(folder, checkpoint):
    engine = pytorch.load(folder, name=KIND)
    assert engine.scorer() is engine.scorer()
    assert engine.info.digest == pytorch.load(checkpoint(KIND), name=KIND).info.digest


def test_a_compiled_engine_has_that_of_its_checkpoint(bundle_of, folder):
    bundle, runtime = bundle_of(KIND), OnnxRuntime(CPU, torch.float32)
    fallback = Fallback(folder, KIND, runtime.dtype, runtime.device)
    engine = CompiledEngine(bundle, read_manifest(bundle), KIND, runtime, fallback)
    expected = load(folder, CPU).image_features(images())
    assert torch.equal(engine.scorer().image_features(images()), expected)
    assert onnxruntime.load(bundle, name=KIND).scorer() is None


class Ranks:
    """Reports each picture's cosine with its prompt."""

    @hookimpl(wrapper=True)
    def decode(self, run):
        pictures = yield
        texts = run.scorer.text_features(run.request.prompts)
        run.report("score", (run.scorer.image_features(pictures) * texts).sum(-1).tolist())
        return pictures


def test_a_run_has_the_checkpoints_scorer(folder, scorer, make_method):
    pipe = Pipeline.from_pretrained(folder)
    prompts = ["a red cat", "the grass"]
    settings = {"num_inference_steps": 1, "seed": 3, "output_type": "pt"}
    result = pipe(prompts, edits=[make_method(Ranks)], **settings)
    pictures = torch.stack(result.images)
    expected = (scorer.image_features(pictures) * scorer.text_features(prompts)).sum(-1)
    assert result.reports["score"] == pytest.approx(expected.tolist(), abs=0.02)  # unclamped


def test_the_pipelines_own_scorer_comes_first(folder, make_method):
    class One:
        def image_features(self, given):
            return torch.ones(len(given), 1)

        def text_features(self, prompts):
            return torch.ones(len(prompts), 1)

    pipe = Pipeline(pytorch.load(folder, name=KIND), scorer=One())
    result = pipe("a cat", edits=[make_method(Ranks)], num_inference_steps=1)
    assert result.reports["score"] == [1.0]


def test_a_run_without_one_says_what_to_do(checkpoint, make_method):
    pipe = Pipeline.from_pretrained(checkpoint(KIND))
    message = r"'tiny-vae' has no scorer\. Save a transformers CLIPModel.*folder clip.*scorer="
    with pytest.raises(NotOfferedError, match=message):
        pipe("a cat", edits=[make_method(Ranks)], num_inference_steps=1)


def broken(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "broken")


def test_broken_files_are_named(folder, tmp_path):
    copy = broken(folder, tmp_path)
    weights = copy / "clip/model.safetensors"
    tensors = load_file(weights)
    kept = {k: v for k, v in tensors.items() if k != "visual_projection.weight"}
    save_file(kept, weights, metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match=r"clip.*visual_projection"):
        LazyScorer(copy, CPU)()
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelLoadError, match="clip cannot be loaded"):
        LazyScorer(copy, CPU)()


def test_a_pickle_is_refused(folder, tmp_path):
    copy = broken(folder, tmp_path)
    (copy / "clip/model.safetensors").rename(copy / "clip/pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="clip cannot be loaded"):
        LazyScorer(copy, CPU)()
