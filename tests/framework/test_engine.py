"""The engine contract, held by the toy engine; `concat`; equality of engines."""

import pytest
import torch
from underpaint.engine import EditInputs, UNetCall, UNetOutput, concat
from underpaint.errors import InvalidRequestError, UnknownSiteError
from underpaint.records import Needs, Tap
from underpaint.sites import SiteSelector
from underpaint.testing import CheckFailedError, ToyEngine, assert_engines_agree

ENGINE = ToyEngine(context_length=8)
ALL_MAPS = {s.name: "all" for s in ENGINE.info.sites.all if s.kind != "activation"}


def call(rows=2, seed=0, **fields):
    generator = torch.Generator().manual_seed(seed)
    return UNetCall(
        sample=torch.randn(rows, 4, 8, 8, generator=generator),
        timestep=torch.arange(rows) * 100 + 300,
        context=torch.randn(rows, 8, 8, generator=generator),
        **{"maps": ALL_MAPS, "features": frozenset({"mid_block"}), **fields},
    )


def edits(rows, **fields):
    return EditInputs(**{**vars(EditInputs.identity(rows, 8, 4)), **fields})


def shuffled(rows=2):
    gates = torch.zeros(4, rows, dtype=torch.bool)
    gates[1:] = True
    return edits(
        rows,
        source_row=torch.arange(rows).roll(1),
        cross_map=torch.rand(rows, 8, 8, generator=torch.Generator().manual_seed(1)),
        cross_scale=torch.rand(rows, 8, generator=torch.Generator().manual_seed(2)),
        self_q=gates,
        self_v=gates,
    )


def same(a, b, tolerance=1e-5):
    assert torch.allclose(a.noise, b.noise, atol=tolerance)
    for name in a.maps:
        assert torch.allclose(a.maps[name], b.maps[name], atol=tolerance), name
    for name in a.features:
        assert torch.allclose(a.features[name], b.features[name], atol=tolerance), name


def test_identity_edits_change_nothing():
    plain, edited = ENGINE.predict(call()), ENGINE.predict(call(edits=edits(2)))
    assert torch.equal(plain.noise, edited.noise)


@pytest.mark.parametrize(
    "change",
    [
        {"cross_map": torch.eye(8).expand(2, 8, 8)},
        {"cross_scale": torch.full((2, 8), 0.5)},
        {"self_q": torch.ones(4, 2, dtype=torch.bool)},
        {"self_k": torch.ones(4, 2, dtype=torch.bool)},
        {"self_v": torch.ones(4, 2, dtype=torch.bool)},
        {"cross_bias": {"up_blocks.0.attn2": torch.randn(2, 16, 8)}},
    ],
)
def test_every_edit_input_has_an_effect(change):
    plain = ENGINE.predict(call())
    edited = ENGINE.predict(call(edits=edits(2, source_row=torch.tensor([1, 0]), **change)))
    assert (plain.noise - edited.noise).abs().max() > 1e-4


def test_the_mid_block_takes_a_hidden_delta_and_shows_it():
    delta = torch.ones(2, 8, 4, 4)
    plain, moved = ENGINE.predict(call()), ENGINE.predict(call(hidden_delta=delta))
    assert torch.allclose(moved.features["mid_block"], plain.features["mid_block"] + 1)
    assert (moved.noise - plain.noise).abs().max() > 1e-4


def test_maps_are_probabilities_of_all_heads_or_their_mean():
    heads = ENGINE.predict(call()).maps
    mean = ENGINE.predict(call(maps=dict.fromkeys(ALL_MAPS, "mean"))).maps
    for name, value in heads.items():
        assert torch.allclose(value.sum(-1), torch.ones(()), atol=1e-5)
        assert torch.allclose(mean[name], value.mean(1, keepdim=True), atol=1e-6)


def test_predicting_a_concatenation_equals_predicting_the_parts():
    calls = [
        call(2, 1, edits=shuffled(2)),
        call(3, 2),
        call(1, 3, edits=edits(1), hidden_delta=torch.ones(1, 8, 4, 4)),
    ]
    joint = ENGINE.predict(concat(calls))
    start = 0
    for part in calls:
        rows = slice(start, start + len(part.sample))
        pick = UNetOutput(
            joint.noise[rows],
            {n: v[rows] for n, v in joint.maps.items()},
            {n: v[rows] for n, v in joint.features.items()},
        )
        same(pick, ENGINE.predict(part))
        start = rows.stop


def test_concatenation_of_plain_calls_stays_plain():
    joined = concat([call(1), call(2)])
    assert joined.edits is None
    assert joined.hidden_delta is None


def test_concatenation_joins_extra_inputs_and_biases():
    bias = {"up_blocks.0.attn2": torch.rand(1, 16, 8)}
    one = call(1, extra={"w": torch.zeros(1, 2)}, edits=edits(1, cross_bias=bias))
    joined = concat([one, one])
    assert joined.extra["w"].shape == (2, 2)
    assert joined.edits.cross_bias["up_blocks.0.attn2"].shape == (2, 16, 8)
    plain = concat([one, call(1, extra=one.extra)]).edits.cross_bias["up_blocks.0.attn2"]
    assert torch.equal(plain, torch.cat([*bias.values(), torch.zeros(1, 16, 8)]))


@pytest.mark.parametrize("field", ["maps", "features", "extra"])
def test_calls_that_read_different_things_cannot_share_a_batch(field):
    other = {
        "maps": {"mid_block.attn2": "mean"},
        "features": frozenset({"elsewhere"}),
        "extra": {"w": torch.zeros(1, 2)},
    }[field]
    with pytest.raises(InvalidRequestError, match=field):
        concat([call(1), call(1, **{field: other})])


@pytest.mark.parametrize("wrt", ["sample", "context", "hidden_delta"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_pullback_equals_finite_differences(wrt, prediction):
    engine = ToyEngine(prediction, context_length=8)
    one = call(hidden_delta=torch.zeros(2, 8, 4, 4), edits=shuffled())
    output, pullback = engine.linearize(one, wrt)
    weights = UNetOutput(
        torch.randn_like(output.noise),
        {n: torch.randn_like(v) for n, v in output.maps.items()},
        {n: torch.randn_like(v) for n, v in output.features.items()},
    )

    def scalar(output):
        pairs = [(output.noise, weights.noise)]
        pairs += [(output.maps[n], weights.maps[n]) for n in output.maps]
        pairs += [(output.features[n], weights.features[n]) for n in output.features]
        return sum((a * b).sum(dtype=torch.float64) for a, b in pairs)

    direction = torch.randn_like(getattr(one, wrt))
    small = 1e-3
    ahead, behind = (
        scalar(engine.predict(UNetCall(**{**vars(one), wrt: getattr(one, wrt) + s * direction})))
        for s in (small, -small)
    )
    expected = float((ahead - behind) / (2 * small))
    assert float((pullback(weights) * direction).sum()) == pytest.approx(expected, rel=2e-2)


def test_text_and_image_codecs():
    tokens = ENGINE.tokenize(["a cat", "A CAT", "a dog"])
    first, second, third = ENGINE.encode_text(tokens)
    assert torch.equal(first, second)
    assert not torch.allclose(first, third)
    images = torch.rand(2, 3, 8, 8).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.allclose(ENGINE.decode_latents(ENGINE.encode_image(images)), images, atol=1e-5)


def test_a_tap_that_no_site_matches_is_refused():
    with pytest.raises(UnknownSiteError):
        ENGINE.check(Needs((Tap(SiteSelector("cross", levels=frozenset({5}))),)), (8, 8))


def test_engines_that_disagree_are_told_apart():
    assert_engines_agree(ENGINE, ToyEngine(context_length=8), call())
    with pytest.raises(CheckFailedError, match=r"noise: toy and toy differ by"):
        assert_engines_agree(ENGINE, ToyEngine("v_prediction", context_length=8), call())


def test_the_toy_s_decoder_can_be_changed_and_the_toy_stays():
    latents = torch.randn(2, 4, 8, 8)
    decoder = ENGINE.decoder()
    assert torch.equal(decoder(latents), ENGINE.decode_latents(latents))
    with torch.no_grad():
        decoder.colours.add_(1)
    assert not torch.equal(decoder(latents), ENGINE.decode_latents(latents))
    assert torch.equal(ENGINE.decoder()(latents), ENGINE.decode_latents(latents))
