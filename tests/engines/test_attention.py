from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from underpaint.engine import EditInputs
from underpaint_engines.attention import AttentionControl, EditableAttention

from tests.engines.literal import literal_predict


def plain_unet(folder):
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", low_cpu_mem_usage=False)
    return unet.eval().requires_grad_(False)


def identity(engine, rows):
    info = engine.info
    return EditInputs.identity(rows, info.context_length, len(info.sites.of_kind("self")))


def test_without_edits_it_is_diffusers_unet(kind, engine, checkpoint, make_call):
    call = make_call(engine)
    with torch.no_grad():
        unet = plain_unet(checkpoint(kind))
        expected = unet(call.sample, call.timestep, call.context).sample
    torch.testing.assert_close(engine.predict(call).noise, expected, atol=1e-5, rtol=0)


def test_edits_equal_literal_attention(kind, engine, checkpoint, make_call, make_edits):
    call = make_call(engine, edits=make_edits(engine))
    expected = literal_predict(plain_unet(checkpoint(kind)), call)
    noise = engine.predict(call).noise
    torch.testing.assert_close(noise, expected.noise, atol=1e-5, rtol=0)
    plain = engine.predict(replace(call, edits=None)).noise
    moved = (noise - plain).abs().flatten(1).amax(1)
    assert (moved > 1e-3).all(), "the edits must matter in every row"


@pytest.mark.parametrize("part", ["cross_map", "cross_scale", "self_q", "self_k", "self_v", "bias"])
def test_each_edit_alone_equals_literal(sd1, checkpoint, make_call, make_edits, part):
    edits, given = identity(sd1, 3), make_edits(sd1)
    field = "cross_bias" if part == "bias" else part
    edits = replace(edits, source_row=given.source_row, **{field: getattr(given, field)})
    call = make_call(sd1, edits=edits)
    expected = literal_predict(plain_unet(checkpoint("sd1")), call).noise
    noise = sd1.predict(call).noise
    torch.testing.assert_close(noise, expected, atol=1e-5, rtol=0)
    assert not torch.equal(noise, sd1.predict(replace(call, edits=None)).noise)


def test_identity_edits_change_no_bit(engine, make_call):
    call = make_call(engine)
    edited = engine.predict(replace(call, edits=identity(engine, 3))).noise
    assert torch.equal(edited, engine.predict(call).noise)


def test_identity_edits_change_no_bit_in_bfloat16(checkpoint, make_call):
    from underpaint_engines.pytorch import load

    engine = load(checkpoint("sd1"), name="sd1", dtype=torch.bfloat16)
    call = make_call(engine)
    edited = engine.predict(replace(call, edits=identity(engine, 3))).noise
    assert torch.equal(edited, engine.predict(call).noise)


def test_a_row_whose_source_is_another_and_takes_all_becomes_it(sd1, make_call):
    call = make_call(sd1, rows=2)
    call = replace(
        call,
        sample=call.sample[:1].expand(2, -1, -1, -1),
        timestep=call.timestep[:1].expand(2),
        context=torch.stack([call.context[0], call.context[0]]),
    )
    take = replace(
        identity(sd1, 2),
        source_row=torch.tensor([0, 0]),
        cross_map=torch.stack([torch.zeros(77, 77), torch.eye(77)]),
        cross_scale=torch.stack([torch.ones(77), torch.zeros(77)]),
    )
    noise = sd1.predict(replace(call, edits=take)).noise
    torch.testing.assert_close(noise[0], noise[1], atol=1e-6, rtol=0)


def test_taps_are_the_literal_softmax(kind, engine, checkpoint, make_call, make_edits):
    names = [s.name for s in engine.info.sites.all if s.kind != "activation"]
    call = make_call(engine, edits=make_edits(engine), maps=dict.fromkeys(names, "all"))
    expected = literal_predict(plain_unet(checkpoint(kind)), call).maps
    maps = engine.predict(call).maps
    assert maps.keys() == expected.keys()
    for name in names:
        torch.testing.assert_close(maps[name], expected[name], atol=1e-5, rtol=0)
        assert maps[name].dtype == torch.float32
        torch.testing.assert_close(maps[name].sum(-1), torch.ones(maps[name].shape[:-1]))


def test_mean_taps_are_the_mean_over_heads(engine, make_call):
    names = [s.name for s in engine.info.sites.all if s.kind != "activation"]
    every = engine.predict(make_call(engine, maps=dict.fromkeys(names, "all"))).maps
    means = engine.predict(make_call(engine, maps=dict.fromkeys(names, "mean"))).maps
    for site in engine.info.sites.all:
        if site.kind != "activation":
            assert every[site.name].shape[1] == site.heads
            expected = every[site.name].mean(1, keepdim=True)
            torch.testing.assert_close(means[site.name], expected)


def test_reading_does_not_change_the_noise(engine, make_call):
    sites = engine.info.sites.all
    plain = make_call(engine)
    read = replace(
        plain,
        maps={s.name: "mean" for s in sites if s.kind != "activation"},
        features=frozenset(s.name for s in sites if s.kind == "activation"),
    )
    assert torch.equal(engine.predict(read).noise, engine.predict(plain).noise)


def test_only_what_is_asked_for_is_read(sd1, make_call):
    name = sd1.info.sites.of_kind("cross")[1].name
    output = sd1.predict(make_call(sd1, maps={name: "mean"}, features=frozenset({"mid_block"})))
    assert list(output.maps) == [name]
    assert list(output.features) == ["mid_block"]
    assert not sd1.predict(make_call(sd1)).maps


def test_padding_mask_equals_diffusers(sd1, checkpoint, make_call):
    call = make_call(sd1)
    mask = torch.ones(3, 77)
    mask[:, 9:] = 0
    unet = plain_unet(checkpoint("sd1"))
    with torch.no_grad():
        expected = unet(call.sample, call.timestep, call.context, encoder_attention_mask=mask)
    noise = sd1.predict(replace(call, extra={"encoder_attention_mask": mask})).noise
    torch.testing.assert_close(noise, expected.sample, atol=1e-5, rtol=0)
    assert not torch.equal(noise, sd1.predict(call).noise)


@pytest.mark.parametrize("with_bias", [False, True])
def test_half_precision_logits_beyond_the_range_of_fp16_do_not_overflow(with_bias):
    attention = Attention(32, 16, heads=2, dim_head=16, upcast_attention=True).half()
    for layer in (attention.to_q, attention.to_k):
        torch.nn.init.constant_(layer.weight, 30.0)
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2"
    bias = {name: torch.zeros(1, 8, 5).half()} if with_bias else {}
    edits = replace(EditInputs.identity(1, 5, 1), cross_bias=bias)
    control = AttentionControl(
        replace(edits, cross_map=edits.cross_map.half(), cross_scale=edits.cross_scale.half()),
        {name: "all"},
    )
    hidden, context = torch.ones(1, 8, 32).half(), torch.ones(1, 5, 16).half()
    logits = attention.to_q(hidden).float() @ attention.to_k(context).float().transpose(1, 2)
    assert logits.max() > torch.finfo(torch.float16).max
    with torch.no_grad():
        out = EditableAttention(name, None)(attention, hidden, context, control=control)
    assert out.isfinite().all()
    assert control.maps[name].isfinite().all()
