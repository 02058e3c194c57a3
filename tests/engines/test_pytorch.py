from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from underpaint.engine import Engine, concat
from underpaint.errors import InvalidRequestError, UnknownSiteError
from underpaint_engines.pytorch import load


def test_it_describes_itself(kind, engine):
    contract: Engine = engine
    info = contract.info
    assert (contract.name, contract.dtype, contract.max_rows) == ("pytorch", torch.float32, 16)
    assert contract.device == torch.device("cpu")
    assert (info.name, info.latent_size, info.vae_factor) == (kind, (16, 16), 2)
    assert (info.context_length, info.context_width, info.latent_channels) == (77, 32, 4)
    assert (info.guidance_scale, info.num_inference_steps) == (7.5, 50)
    expected = "v_prediction" if kind == "sd2" else "epsilon"
    assert info.noise.prediction_type == expected
    assert info.noise.levels == 1000
    assert len(info.digest) == 64


def test_another_checkpoint_has_another_digest(engine_of):
    assert len({engine_of(kind).info.digest for kind in ("sd1", "sd2", "tiny-vae")}) == 3


def test_the_entry_point_is_load(checkpoint):
    from underpaint.registry import find

    assert find("engines")["pytorch"].load() is load


def test_the_same_call_gives_the_same_bytes(engine, make_call, make_edits):
    call = make_call(engine, edits=make_edits(engine))
    assert torch.equal(engine.predict(call).noise, engine.predict(call).noise)


def test_another_input_gives_another_output(engine, make_call):
    call = make_call(engine)
    noise = engine.predict(call).noise
    for field in ("sample", "context", "timestep"):
        other = replace(call, **{field: getattr(make_call(engine, seed=1), field)})
        assert (engine.predict(other).noise - noise).abs().max() > 1e-3


def test_a_concatenation_equals_its_parts(engine, make_call, make_edits):
    name = engine.info.sites.of_kind("cross")[1].name
    readings = {"maps": {name: "mean"}, "features": frozenset({"mid_block"})}
    first = make_call(engine, rows=2, edits=make_edits(engine, rows=2), **readings)
    second = make_call(engine, rows=3, seed=1, edits=make_edits(engine, seed=1), **readings)
    whole = engine.predict(concat([first, second]))
    parts = [engine.predict(first), engine.predict(second)]
    noise = torch.cat([part.noise for part in parts])
    torch.testing.assert_close(whole.noise, noise, atol=1e-5, rtol=0)
    maps = torch.cat([part.maps[name] for part in parts])
    torch.testing.assert_close(whole.maps[name], maps, atol=1e-5, rtol=0)
    features = torch.cat([part.features["mid_block"] for part in parts])
    torch.testing.assert_close(whole.features["mid_block"], features, atol=1e-5, rtol=1e-5)


def test_plain_calls_share_a_batch_with_edited_ones(sd1, make_call, make_edits):
    plain, edited = make_call(sd1), make_call(sd1, edits=replace(make_edits(sd1), cross_bias={}))
    moved = replace(make_call(sd1, rows=1, seed=2), hidden_delta=torch.randn(1, 32, 2, 2))
    whole = sd1.predict(concat([plain, edited, moved])).noise
    parts = torch.cat([sd1.predict(call).noise for call in (plain, edited, moved)])
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=0)


def test_eight_threads_give_the_bytes_of_one(engine, make_call, make_edits):
    sites = engine.info.sites
    cross, own = sites.of_kind("cross"), sites.of_kind("self")
    activations = [site.name for site in sites.of_kind("activation")]

    def call(index):
        delta = torch.full((2, 32, 16 >> sites.deepest_level, 16 >> sites.deepest_level), index)
        return make_call(
            engine,
            rows=2,
            seed=index,
            edits=make_edits(engine, rows=2, seed=index) if index % 2 else None,
            hidden_delta=delta.float() if index % 3 else None,
            maps={cross[index % len(cross)].name: "mean", own[index % len(own)].name: "all"},
            features=frozenset({activations[index % len(activations)]}),
        )

    def work(index):
        if index % 4 == 3:
            output, pullback = engine.linearize(call(index), "sample")
            return output, pullback(output)
        return engine.predict(call(index)), None

    serial = [work(index) for index in range(16)]
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(work, range(16)))
    for (one, gradient), (other, other_gradient) in zip(serial, parallel, strict=True):
        assert torch.equal(one.noise, other.noise)
        for part in ("maps", "features"):
            mine, theirs = getattr(one, part), getattr(other, part)
            assert mine.keys() == theirs.keys()
            assert all(torch.equal(mine[name], theirs[name]) for name in mine)
        assert gradient is None or torch.equal(gradient, other_gradient)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float16, 5e-3), (torch.bfloat16, 4e-2)])
def test_half_precisions_run_and_are_near(engine, checkpoint, make_call, make_edits, dtype, near):
    half = load(checkpoint(engine.info.name), name="half", dtype=dtype)
    assert half.dtype == dtype
    name = engine.info.sites.of_kind("cross")[0].name
    call = make_call(
        engine, edits=make_edits(engine), maps={name: "mean"}, features=frozenset({"mid_block"})
    )
    output, expected = half.predict(call), engine.predict(call)
    for value in (output.noise, output.maps[name], output.features["mid_block"]):
        assert value.dtype == torch.float32
        assert value.isfinite().all()
    error = (output.noise - expected.noise).norm() / expected.noise.norm()
    assert 0 < error < near
    _, pullback = half.linearize(call, "sample")
    assert pullback(expected).dtype == torch.float32
    tokens = half.tokenize(["a cat"])
    assert torch.equal(half.encode_text(tokens), engine.encode_text(tokens))


def test_features_are_what_hooks_on_diffusers_see(kind, engine, checkpoint, make_call):
    names = [site.name for site in engine.info.sites.of_kind("activation")]
    call = make_call(engine, features=frozenset(names))
    unet = UNet2DConditionModel.from_pretrained(checkpoint(kind) / "unet", low_cpu_mem_usage=False)
    seen = {}
    for name in names:
        unet.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: seen.setdefault(name, out)
        )
    with torch.no_grad():
        unet(call.sample, call.timestep, call.context)
    features = engine.predict(call).features
    assert features.keys() == set(names)
    for name, value in seen.items():
        expected = value[0] if isinstance(value, tuple) else value
        torch.testing.assert_close(features[name], expected, atol=1e-5, rtol=1e-5)


def test_hidden_delta_is_added_to_the_mid_blocks_output(kind, engine, checkpoint, make_call):
    side = 16 >> engine.info.sites.deepest_level
    call = make_call(engine, hidden_delta=torch.randn(3, 32, side, side))
    unet = UNet2DConditionModel.from_pretrained(checkpoint(kind) / "unet", low_cpu_mem_usage=False)
    unet.mid_block.register_forward_hook(lambda _, __, out: out + call.hidden_delta)
    with torch.no_grad():
        expected = unet(call.sample, call.timestep, call.context).sample
    torch.testing.assert_close(engine.predict(call).noise, expected, atol=1e-5, rtol=0)
    zero = replace(call, hidden_delta=torch.zeros(3, 32, side, side))
    assert torch.equal(
        engine.predict(zero).noise, engine.predict(replace(call, hidden_delta=None)).noise
    )


def test_nothing_of_a_call_stays_behind(sd1, make_call):
    plain = make_call(sd1)
    noise = sd1.predict(plain).noise
    sd1.predict(replace(plain, hidden_delta=torch.ones(3, 32, 2, 2)))
    with torch.no_grad():
        after = sd1._unet(plain.sample, plain.timestep, plain.context).sample
    assert torch.equal(after, noise)


def test_features_share_no_memory(sd1, make_call):
    """The last down block returns what its last resnet does: one tensor inside the UNet."""
    names = ("down_blocks.3.resnets.0", "down_blocks.3")
    features = sd1.predict(make_call(sd1, features=frozenset(names))).features
    assert torch.equal(features[names[0]], features[names[1]])
    features[names[0]].zero_()
    assert features[names[1]].abs().max() > 0


def test_a_feature_of_the_mid_block_is_read_before_the_delta(sd1, make_call):
    call = make_call(sd1, features=frozenset({"mid_block"}))
    moved = sd1.predict(replace(call, hidden_delta=torch.ones(3, 32, 2, 2)))
    plain = sd1.predict(call)
    assert torch.equal(moved.features["mid_block"], plain.features["mid_block"])
    assert not torch.equal(moved.noise, plain.noise)


def test_a_timestep_each_row(sd1, make_call):
    call = make_call(sd1)
    noise = sd1.predict(call).noise
    for row in range(3):
        alone = replace(
            call,
            sample=call.sample[row : row + 1],
            timestep=call.timestep[row : row + 1],
            context=call.context[row : row + 1],
        )
        torch.testing.assert_close(sd1.predict(alone).noise[0], noise[row], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sample", torch.zeros(3, 5, 16, 16), r"sample: expected \[R, 4, h, w\]"),
        ("sample", torch.zeros(4, 16, 16), "sample: expected"),
        ("sample", torch.zeros(17, 4, 16, 16), "17 rows; the engine takes 1 to 16"),
        ("timestep", torch.tensor(5), r"timestep: expected \[3\]"),
        ("context", torch.zeros(3, 76, 32), r"context: expected \[3, 77, 32\]"),
        ("context", torch.zeros(1, 77, 32), r"context: expected \[3, 77, 32\]"),
        ("hidden_delta", torch.zeros(3, 32, 4, 4), r"hidden_delta: expected \[3, 32, 2, 2\]"),
        ("extra", {"text_embeds": torch.zeros(3, 8)}, "extra: 'text_embeds'. Valid: 'class_"),
        ("extra", {"timestep_cond": torch.zeros(2, 8)}, r"timestep_cond.*\[3, ...\]"),
        ("maps", {"down_blocks.0.attn9": "mean"}, "no self or cross site"),
        ("features", frozenset({"mid_blok"}), r"no activation site.*Did you mean 'mid_block'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(sd1, make_call, field, value, message):
    error = UnknownSiteError if field in ("maps", "features") else InvalidRequestError
    with pytest.raises(error, match=message):
        sd1.predict(replace(make_call(sd1), **{field: value}))
    with pytest.raises(error, match=message):
        sd1.linearize(replace(make_call(sd1), **{field: value}), "sample")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("source_row", torch.zeros(2, dtype=torch.int64)),
        ("source_row", torch.zeros(3)),
        ("cross_map", torch.zeros(77, 77)),
        ("cross_scale", torch.ones(3, 76)),
        ("self_q", torch.zeros(3, 10, dtype=torch.bool)),
        ("self_k", torch.zeros(10, 3)),
        ("self_v", torch.zeros(9, 3, dtype=torch.bool)),
    ],
)
def test_edits_that_do_not_fit_are_refused_by_name(sd1, make_call, make_edits, field, value):
    edits = replace(make_edits(sd1), **{field: value})
    with pytest.raises(InvalidRequestError, match=f"edits.{field}: expected"):
        sd1.predict(make_call(sd1, edits=edits))


def test_a_bias_that_does_not_fit_is_refused(sd1, make_call, make_edits):
    name = sd1.info.sites.of_kind("cross")[0].name
    edits = replace(make_edits(sd1), cross_bias={name: torch.zeros(3, 64, 77)})
    with pytest.raises(InvalidRequestError, match=r"cross_bias.*expected \[3, 256, 77\]"):
        sd1.predict(make_call(sd1, edits=edits))
    edits = replace(edits, cross_bias={"attn2": torch.zeros(3, 64, 77)})
    with pytest.raises(UnknownSiteError, match="'attn2' is no cross site"):
        sd1.predict(make_call(sd1, edits=edits))


def test_an_unknown_reduction_of_heads_is_refused(sd1, make_call):
    name = sd1.info.sites.of_kind("cross")[0].name
    with pytest.raises(InvalidRequestError, match="Valid: 'all', 'mean'"):
        sd1.predict(make_call(sd1, maps={name: "max"}))
