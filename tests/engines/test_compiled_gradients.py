"""Gradients of a bundle are those of autograd, on every input, with edits and without."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from filelock import FileLock
from underpaint import Guidance, Needs, Pipeline, Tap, hookimpl
from underpaint.engine import UNetOutput
from underpaint.errors import NotOfferedError
from underpaint_engines import onnxruntime, pytorch
from underpaint_engines.bundle import read_manifest
from underpaint_engines.compiled import CompiledEngine
from underpaint_engines.onnxruntime import OnnxRuntime
from underpaint_export.bundle import write_bundle
from underpaint_prompt_to_prompt import PromptToPrompt

KIND = "tiny-vae"
WRT = ("sample", "context", "hidden_delta")
RUNTIME = OnnxRuntime(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="session")
def gradients(bundle_of, checkpoint, shared_folder):
    """Return the folder of the graph of gradients that belongs to the tiny bundle."""
    folder = shared_folder / f"gradients-{KIND}"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            beside = {"size": (16, 16), "beside": bundle_of(KIND)}
            write_bundle(
                checkpoint(KIND),
                folder,
                runtime=RUNTIME,
                name=KIND,
                gradients=beside,
                quiet=True,
            )
    return folder


@pytest.fixture
def exports():
    return []


@pytest.fixture
def engine(bundle_of, gradients, exports):
    folder = bundle_of(KIND)

    def export(size):
        exports.append(size)
        return gradients

    return CompiledEngine(folder, read_manifest(folder), KIND, RUNTIME, export_gradients=export)


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


def random_like(output, keep=("noise", "maps", "features"), rows=None):
    """Return cotangents for these parts of an output and these rows, zero elsewhere."""

    def draw(value, part):
        drawn = torch.randn(value.shape) * (part in keep)
        if rows is not None:
            drawn *= torch.isin(torch.arange(len(value)), rows).view(-1, *[1] * (value.dim() - 1))
        return drawn

    return UNetOutput(
        draw(output.noise, "noise"),
        {name: draw(value, "maps") for name, value in output.maps.items()},
        {name: draw(value, "features") for name, value in output.features.items()},
    )


def assert_near(got, expected):
    assert (got - expected).abs().max() <= 1e-4 * expected.abs().max()
    assert expected.abs().max() > 0


@pytest.mark.parametrize("edited", [True, False])
@pytest.mark.parametrize("wrt", WRT)
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


@pytest.mark.parametrize("part", ["noise", "maps", "features"])
@pytest.mark.parametrize("rows", [[1], [2], [0, 2]])
def test_a_part_and_some_rows_alone(engine, reference, call_of, part, rows):
    call = call_of()
    output, expected = reference.linearize(call, "sample")
    cotangents = random_like(output, (part,), torch.tensor(rows))
    assert_near(engine.linearize(call, "sample")[1](cotangents), expected(cotangents))


def test_small_cotangents_lose_nothing(engine, reference, call_of):
    call = call_of()
    output, expected = reference.linearize(call, "sample")
    cotangents = random_like(output)
    small = UNetOutput(
        cotangents.noise * 1e-9,
        {name: value * 1e-9 for name, value in cotangents.maps.items()},
        {name: value * 1e-9 for name, value in cotangents.features.items()},
    )
    got = engine.linearize(call, "sample")[1](small)
    assert_near(got * 1e9, expected(cotangents))


def test_no_cotangents_run_nothing(engine, reference, call_of, monkeypatch):
    call = call_of()
    output, pullback = engine.linearize(call, "context")
    monkeypatch.setattr(OnnxRuntime, "open", lambda *args: pytest.fail("opened a graph"))
    gradient = pullback(UNetOutput(torch.zeros_like(output.noise)))
    assert gradient.shape == call.context.shape
    assert gradient.abs().max() == 0


def test_threads_give_the_bytes_of_one(engine, call_of):
    call = call_of()
    output, pullback = engine.linearize(call, "sample")
    cotangents = [random_like(output) for _ in range(4)]
    alone = [pullback(each) for each in cotangents]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(pullback, cotangents))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_what_is_not_asked_for_is_not_computed(engine, gradients, reference, call_of):
    from underpaint_engines.pruning import pruned

    file = gradients / "unet" / "gradient_16x16.onnx"
    ports = read_manifest(gradients).graphs["unet/gradient@16x16"].inputs
    zeros = [p.name for p in ports if p.name.startswith("cotangent.")]
    site = reference.info.sites.of_kind("cross")[0].name
    zeros.remove(f"cotangent.{site}.all")
    whole = pruned(file, ["gradient.sample"])
    part = pruned(file, ["gradient.sample"], zeros)
    assert len(part) < len(whole) / 3


def test_the_graph_shares_the_weights_of_the_bundle(bundle_of, gradients):
    shared = gradients / "unet" / "weights.safetensors"
    assert shared.samefile(bundle_of(KIND) / "unet" / "weights.safetensors")
    own = gradients / "unet" / "gradients.safetensors"
    assert own.stat().st_size < shared.stat().st_size / 4


def test_every_gradient_was_compared_on_two_inputs_with_edits_on_and_off(gradients):
    parity = read_manifest(gradients).parity
    assert {(p.case, p.output) for p in parity} == {
        (f"input {k}, edits {state}", f"gradient.{wrt}")
        for k in (1, 2)
        for state in ("on", "off")
        for wrt in WRT
    }
    assert all(p.difference <= p.tolerance for p in parity)


class Steered:
    """Guides by the words' maps, a feature and x0."""

    @hookimpl
    def needs(self, request):
        self.selector = request.model.sites.words()
        return Needs(taps=(Tap(self.selector),), gradient=frozenset({"sample"}))

    @hookimpl
    def guidance(self, step):
        def energy(seen):
            attention = seen.maps.values
            maps = sum(each[..., 1].square().sum() for each in attention.values())
            return maps - 0.1 * seen.x0.mean((1, 2, 3))

        return [Guidance(energy, 2.0, "noise")]


def test_guidance_and_prompt_to_prompt_run_together(engine, checkpoint, make_method, exports):
    edits = [PromptToPrompt(source="a cat on the grass"), make_method(Steered)]
    call = {"num_inference_steps": 4, "seed": 3, "output_type": "latent"}
    got, again = (Pipeline(engine)("a dog on the grass", edits=edits, **call) for _ in range(2))
    expected = Pipeline(pytorch.load(checkpoint(KIND), name=KIND))(
        "a dog on the grass", edits=edits, **call
    )
    assert got.recipe["engine"] == "onnxruntime"
    assert not got.warnings
    torch.testing.assert_close(got.latents, expected.latents, atol=1e-3, rtol=0)
    assert torch.equal(got.latents, again.latents)
    plain = Pipeline(engine)("a dog on the grass", edits=edits[:1], **call)
    assert (plain.latents - expected.latents).abs().max() > 1e-2
    assert exports == [(16, 16)]


def test_an_engine_asks_the_cache_once(bundle_of, engine, call_of, exports):
    call = call_of()
    engine.linearize(call, "sample")
    engine.linearize(call, "context")
    assert exports == [(16, 16)]


def test_a_bundle_alone_says_how_to_get_them(bundle_of, call_of):
    alone = onnxruntime.load(bundle_of(KIND), name=KIND)
    with pytest.raises(NotOfferedError, match="--gradients"):
        alone.check(Needs(gradient=frozenset({"sample"})), (16, 16))
    with pytest.raises(NotOfferedError, match="engine='pytorch'"):
        alone.linearize(replace(call_of(), edits=None), "sample")
