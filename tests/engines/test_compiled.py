"""The engines of a bundle say what the PyTorch engine says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import pytest
import torch
from underpaint import Pipeline
from underpaint.engine import EditInputs, concat
from underpaint.errors import (
    InvalidRequestError,
    ModelLoadError,
    NotOfferedError,
    UnknownSiteError,
)
from underpaint.records import Needs, Tap
from underpaint.sites import SiteSelector
from underpaint_engines import onnxruntime, openvino
from underpaint_prompt_to_prompt import LocalBlend, PromptToPrompt

KIND = "tiny-vae"
SIZE = (16, 16)
NEAR = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture(scope="session")
def compiled_of(bundle_of):
    loaders = {"onnxruntime": onnxruntime.load, "openvino": openvino.load}
    return cache(lambda name: loaders[name](bundle_of(KIND), name=KIND))


@pytest.fixture(params=["onnxruntime", "openvino"])
def compiled(request, compiled_of):
    return compiled_of(request.param)


@pytest.fixture
def torch_engine(engine_of):
    return engine_of(KIND)


@pytest.fixture
def edits(torch_engine, make_edits):
    """Return edits of every kind."""
    return lambda **options: make_edits(torch_engine, **options)


def identity(engine, rows=3):
    return EditInputs.identity(rows, 77, len(engine.info.sites.of_kind("self")))


def assert_alike(compiled, torch_engine, call):
    got, expected = compiled.predict(call), torch_engine.predict(call)
    torch.testing.assert_close(got.noise, expected.noise, **NEAR)
    assert got.maps.keys() == expected.maps.keys()
    assert got.features.keys() == expected.features.keys()
    for name, value in expected.maps.items():
        torch.testing.assert_close(got.maps[name], value, **NEAR)
    for name, value in expected.features.items():
        torch.testing.assert_close(got.features[name], value, **NEAR)


def test_it_describes_the_same_model(compiled, torch_engine):
    assert compiled.info == torch_engine.info
    assert (compiled.dtype, compiled.device) == (torch.float32, torch.device("cpu"))
    assert compiled.max_rows == 16


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("rows", [1, 3])
def test_plain_calls(compiled, torch_engine, make_call, seed, rows):
    assert_alike(compiled, torch_engine, make_call(torch_engine, rows=rows, seed=seed))


@pytest.mark.parametrize("seed", [0, 1])
def test_edited_calls(compiled, torch_engine, make_call, edits, seed):
    call = make_call(torch_engine, seed=seed, edits=edits(seed=seed))
    assert_alike(compiled, torch_engine, call)
    plain = torch_engine.predict(replace(call, edits=None)).noise
    assert (compiled.predict(call).noise - plain).abs().max() > 1e-2


@pytest.mark.parametrize("seed", [0, 1])
def test_a_bias_alone_moves_what_its_rows_attend_to(compiled, torch_engine, make_call, edits, seed):
    bias = dict(edits(seed=seed).cross_bias)
    for value in bias.values():
        value[1] = 0
    call = make_call(torch_engine, seed=seed, maps=dict.fromkeys(bias, "mean"))
    biased = replace(call, edits=replace(identity(torch_engine), cross_bias=bias))
    assert_alike(compiled, torch_engine, biased)
    got, plain = compiled.predict(biased), compiled.predict(call)
    moved = (got.noise - plain.noise).abs().flatten(1).amax(1)
    assert (moved > 1e-3).tolist() == [True, False, True]
    assert all((got.maps[site][0] - plain.maps[site][0]).abs().max() > 0.1 for site in bias)


def test_a_bias_of_zero_changes_nothing(compiled, torch_engine, make_call, edits):
    given = edits()
    zeros = {site: torch.zeros_like(value) for site, value in given.cross_bias.items()}
    call = make_call(torch_engine, edits=replace(given, cross_bias=zeros))
    without = replace(call, edits=replace(given, cross_bias={}))
    got, expected = compiled.predict(call).noise, torch_engine.predict(without).noise
    torch.testing.assert_close(got, expected, **NEAR)
    assert (compiled.predict(replace(call, edits=given)).noise - got).abs().max() > 1e-2


def test_every_reading(compiled, torch_engine, make_call, edits):
    sites = torch_engine.info.sites
    attention = [site.name for site in sites.all if site.kind != "activation"]
    features = frozenset(site.name for site in sites.of_kind("activation"))
    for heads in ("mean", "all"):
        maps = dict.fromkeys(attention, heads)
        call = make_call(torch_engine, maps=maps, features=features, edits=edits())
        assert_alike(compiled, torch_engine, call)


def test_the_mid_blocks_delta(compiled, torch_engine, make_call):
    call = make_call(torch_engine)
    side = 16 >> torch_engine.info.sites.deepest_level
    moved = replace(call, hidden_delta=torch.randn(3, 32, side, side))
    assert_alike(compiled, torch_engine, moved)
    assert (compiled.predict(moved).noise - compiled.predict(call).noise).abs().max() > 1e-3


def test_identity_edits_change_nothing(compiled, torch_engine, make_call):
    call = make_call(torch_engine)
    same = compiled.predict(replace(call, edits=identity(torch_engine))).noise
    torch.testing.assert_close(same, compiled.predict(call).noise, atol=1e-5, rtol=0)


def test_a_concatenation_equals_its_parts(compiled, torch_engine, make_call, edits):
    first = make_call(torch_engine, rows=2, edits=edits(rows=2))
    second = make_call(torch_engine, rows=3, seed=1, edits=edits(seed=1))
    whole = compiled.predict(concat([first, second])).noise
    parts = torch.cat([compiled.predict(call).noise for call in (first, second)])
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=0)


def test_the_codecs(compiled, torch_engine):
    tokens = compiled.tokenize(["a cat on grass", "the red dog"])
    assert tokens == torch_engine.tokenize(["a cat on grass", "the red dog"])
    torch.testing.assert_close(
        compiled.encode_text(tokens), torch_engine.encode_text(tokens), **NEAR
    )
    images = torch.rand(2, 3, 32, 32)
    latents = compiled.encode_image(images)
    torch.testing.assert_close(latents, torch_engine.encode_image(images), **NEAR)
    torch.testing.assert_close(
        compiled.decode_latents(latents), torch_engine.decode_latents(latents), **NEAR
    )


def test_threads_give_the_bytes_of_one(compiled, torch_engine, make_call, edits):
    calls = [make_call(torch_engine, seed=k, edits=edits(seed=k)) for k in range(8)]
    alone = [compiled.predict(call).noise.clone() for call in calls]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda call: compiled.predict(call).noise.clone(), calls))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("a red cat on the grass", {"blend": LocalBlend(words=("cat",))}),
        ("a cat on the grass", {"reweight": {"cat": 3.0}}),
        ("a dog on the grass", {}),
    ],
)
def test_whole_edits_have_the_latents_of_pytorch(compiled, torch_engine, target, options):
    edit = PromptToPrompt(source="a cat on the grass", **options)
    call = {"edits": [edit], "num_inference_steps": 8, "seed": 3, "output_type": "latent"}
    got, expected = (Pipeline(e)(target, **call) for e in (compiled, torch_engine))
    torch.testing.assert_close(got.latents, expected.latents, atol=1e-3, rtol=0)
    plain = Pipeline(compiled)(target, **{**call, "edits": []}).latents
    assert (plain - expected.latents).abs().max() > 1e-2


@pytest.fixture
def opened(monkeypatch):
    """Return what ONNX Runtime opens: files, and how many outputs of each."""
    opened = []
    open_ = onnxruntime.OnnxRuntime.open
    monkeypatch.setattr(
        onnxruntime.OnnxRuntime,
        "open",
        lambda self, folder, graph, outputs: (
            opened.append((graph.file, len(outputs))) or open_(self, folder, graph, outputs)
        ),
    )
    return opened


def test_a_run_with_biases_opens_one_graph_for_all_its_steps(
    bundle_of, make_call, torch_engine, edits, opened
):
    engine = onnxruntime.load(bundle_of(KIND), name=KIND)
    engine.check(Needs(edits=True, cross_bias=True), SIZE)
    biased = make_call(torch_engine, edits=edits())
    edited = replace(biased, edits=replace(edits(), cross_bias={}))
    for call in (biased, edited, replace(biased, edits=None)):
        assert_alike(engine, torch_engine, call)
    assert opened == [("unet/bias_16x16.onnx", 1)]


def test_a_need_is_compiled_before_the_run_and_serves_smaller_ones(
    bundle_of, make_call, torch_engine, opened
):
    engine = onnxruntime.load(bundle_of(KIND), name=KIND)
    engine.check(Needs(taps=(Tap(SiteSelector("cross")),), edits=True), SIZE)
    sites = len(engine.info.sites.of_kind("cross"))
    assert opened == [("unet/edit_16x16.onnx", 1 + sites)]
    engine.predict(make_call(torch_engine))
    name = engine.info.sites.of_kind("cross")[0].name
    engine.predict(make_call(torch_engine, maps={name: "mean"}))
    assert len(opened) == 1
    engine.predict(make_call(torch_engine, maps={name: "all"}))
    assert opened[1:] == [("unet/plain_16x16.onnx", 2)]


def test_what_it_does_not_offer_is_refused(compiled, torch_engine, make_call):
    for needs in (Needs(), Needs(gradient=frozenset({"sample"}))):
        with pytest.raises(NotOfferedError, match=r"no graph unet/\w+@8x8.*--size"):
            compiled.check(needs, (8, 8))
    call = make_call(torch_engine)
    with pytest.raises(NotOfferedError, match=r"no graph unet/plain@8x8.*--size"):
        compiled.predict(replace(call, sample=call.sample[..., :8, :8]))


def test_what_does_not_fit_is_refused_by_name(compiled, torch_engine, make_call):
    call = make_call(torch_engine)
    with pytest.raises(InvalidRequestError, match="context"):
        compiled.predict(replace(call, context=call.context[:, :5]))
    with pytest.raises(UnknownSiteError, match="nowhere"):
        compiled.predict(replace(call, maps={"nowhere": "mean"}))
    with pytest.raises(UnknownSiteError):
        compiled.check(Needs(taps=(Tap(SiteSelector("cross", levels=frozenset({9}))),)), SIZE)
    with pytest.raises(InvalidRequestError, match="images"):
        compiled.encode_image(torch.rand(1, 3, 33, 32))
    with pytest.raises(InvalidRequestError, match="latents"):
        compiled.decode_latents(torch.rand(1, 3, 16, 16))


@pytest.mark.parametrize("engine", [onnxruntime, openvino])
def test_a_precision_or_device_that_a_runtime_lacks_is_refused(engine, bundle_of):
    with pytest.raises(ModelLoadError, match="fp32"):
        engine.load(bundle_of(KIND), name=KIND, dtype=torch.float16)
    with pytest.raises(ModelLoadError, match="cpu"):
        engine.load(bundle_of(KIND), name=KIND, device="meta")


def test_they_are_installed():
    from underpaint.registry import find

    points = find("engines")
    assert points["onnxruntime"].load() is onnxruntime.load
    assert points["openvino"].load() is openvino.load
