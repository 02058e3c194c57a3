"""Gradients of a bundle are those of autograd, on every input, with edits and without."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import onnx
import pytest
import torch
from underpaint import Guidance, Needs, Pipeline, Tap, hookimpl
from underpaint.engine import UNetOutput
from underpaint.records import Wrt
from underpaint_engines import onnxruntime, openvino
from underpaint_engines.bundle import read_manifest
from underpaint_engines.derivative import derivative
from underpaint_engines.pruning import pruned
from underpaint_prompt_to_prompt import PromptToPrompt

KIND = "tiny-vae"
PARTS = ("noise", "maps", "features")
LOADERS = {"onnxruntime": onnxruntime.load, "openvino": openvino.load}


@pytest.fixture(params=LOADERS)
def engine(request, bundle_of):
    return LOADERS[request.param](bundle_of(KIND), name=KIND)


@pytest.fixture
def reference(engine_of):
    return engine_of(KIND)


@pytest.fixture
def call_of(reference, make_call, make_edits):
    sites = reference.info.sites
    names = [site.name for site in sites.select(sites.words())]

    def make(seed=0, edited=True):
        return make_call(
            reference,
            seed=seed,
            edits=make_edits(reference, seed=seed) if edited else None,
            maps={names[0]: "mean", names[-1]: "all"},
            features=frozenset({"mid_block", "up_blocks.1.resnets.1"}),
        )

    return make


def random_like(output, keep=PARTS, scale=1.0):
    """Return cotangents for these parts of an output alone."""

    def draw(values):
        return {name: scale * torch.randn(value.shape) for name, value in values.items()}

    return UNetOutput(
        scale * torch.randn(output.noise.shape) * ("noise" in keep),
        draw(output.maps) if "maps" in keep else {},
        draw(output.features) if "features" in keep else {},
    )


def assert_near(got, expected):
    assert (got - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert expected.abs().max() > 0


@pytest.mark.parametrize("edited", [True, False])
@pytest.mark.parametrize("wrt", get_args(Wrt))
def test_gradients_of_everything_are_autograds(engine, reference, call_of, wrt, edited):
    seen = []
    for seed in (0, 1):
        call = call_of(seed, edited)
        output, pullback = engine.linearize(call, wrt)
        expected_output, expected_pullback = reference.linearize(call, wrt)
        torch.testing.assert_close(output.noise, expected_output.noise, atol=1e-4, rtol=1e-4)
        cotangents = random_like(expected_output)
        got = pullback(cotangents)
        assert_near(got, expected_pullback(cotangents))
        seen.append(got)
    assert (seen[0] - seen[1]).abs().max() > 0.1 * seen[0].abs().max()


@pytest.mark.parametrize("part", PARTS)
def test_a_part_alone(engine, reference, call_of, part):
    call = call_of()
    output, expected = reference.linearize(call, "sample")
    cotangents = random_like(output, (part,))
    assert_near(engine.linearize(call, "sample")[1](cotangents), expected(cotangents))


def test_small_cotangents_lose_nothing(engine, reference, call_of):
    call = call_of()
    output, expected = reference.linearize(call, "sample")
    cotangents = random_like(output, scale=1e-30)
    assert_near(engine.linearize(call, "sample")[1](cotangents), expected(cotangents))


def test_no_cotangents_run_nothing(engine, call_of, monkeypatch):
    call = call_of()
    output, pullback = engine.linearize(call, "context")
    runtime = type(engine._sessions.runtime)
    monkeypatch.setattr(runtime, "open", lambda *_: pytest.fail("opened a graph"))
    gradient = pullback(UNetOutput(torch.zeros_like(output.noise)))
    assert gradient.shape == call.context.shape
    assert gradient.abs().max() == 0


def test_threads_give_the_bytes_of_one(engine, call_of):
    output, pullback = engine.linearize(call_of(), "sample")
    cotangents = [random_like(output) for _ in range(4)]
    alone = [pullback(each) for each in cotangents]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(pullback, cotangents))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_layers_that_no_cotangent_reaches_are_not_in_the_graph(bundle_of, reference):
    folder = bundle_of(KIND)
    graph = read_manifest(folder).graphs["unet/plain@16x16"]
    first = reference.info.sites.of_kind("cross")[0].name
    sizes = [
        len(pruned(folder, derivative(graph, "sample", frozenset({output})), ["gradient.sample"]))
        for output in ("noise", f"{first}.mean")
    ]
    assert sizes[1] < sizes[0] / 2


def test_the_way_back_repeats_no_layer(engine):
    from underpaint_engines.bundle import read_manifest
    from underpaint_engines.derivative import derivative
    from underpaint_engines.pruning import pruned, residual_ports

    folder = engine._sessions.folder
    graph = read_manifest(folder).graphs["unet/edit@16x16"]
    whole = derivative(graph, "sample", frozenset({"noise"}))
    back = derivative(graph, "sample", frozenset({"noise"}), residual_ports(folder, whole))

    def operators(record, output):
        model = onnx.load_model_from_string(pruned(folder, record, [output]))
        return Counter(node.op_type for node in model.graph.node)

    forward = operators(graph, "noise")
    repeated, kept = (operators(each, "gradient.sample") for each in (whole, back))
    for kind in ("Attention", "Gelu", "GroupNormalization", "LayerNormalization"):
        assert repeated[kind] > 0
        assert kept[kind] == 0
    assert kept["Conv"] <= forward["Conv"] < repeated["Conv"]


def test_the_output_is_the_callers_to_change(engine, reference, call_of):
    call = call_of()
    output, pullback = engine.linearize(call, "sample")
    expected, expected_pullback = reference.linearize(call, "sample")
    cotangents = random_like(expected)
    for value in (output.noise, *output.maps.values(), *output.features.values()):
        value.zero_()
    assert_near(pullback(cotangents), expected_pullback(cotangents))


class Steered:
    """Guides by the words' maps, and by x0."""

    @hookimpl
    def needs(self, request):
        return Needs(taps=(Tap(request.model.sites.words()),), gradient=frozenset({"sample"}))

    @hookimpl
    def guidance(self, step):
        def energy(seen):
            maps = sum(each[..., 1].square().sum() for each in seen.maps.values.values())
            return maps - 0.1 * seen.x0.mean((1, 2, 3))

        return [Guidance(energy, 2.0, "noise")]


def test_guidance_and_prompt_to_prompt_run_together(engine, reference, make_method):
    edits = [PromptToPrompt(source="a cat on the grass"), make_method(Steered)]
    call = {"num_inference_steps": 4, "seed": 3, "output_type": "latent"}
    got, again = (Pipeline(engine)("a dog on the grass", edits=edits, **call) for _ in range(2))
    expected = Pipeline(reference)("a dog on the grass", edits=edits, **call)
    assert got.recipe["engine"] == engine.name
    assert not got.warnings
    torch.testing.assert_close(got.latents, expected.latents, atol=1e-3, rtol=0)
    assert torch.equal(got.latents, again.latents)
    plain = Pipeline(engine)("a dog on the grass", edits=edits[:1], **call)
    assert (plain.latents - expected.latents).abs().max() > 1e-2
