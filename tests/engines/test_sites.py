from __future__ import annotations

import json
import shutil

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from underpaint.errors import ModelLoadError, NotOfferedError, UnknownSiteError
from underpaint.records import Needs, Tap
from underpaint.sites import SiteSelector
from underpaint_engines.calls import refuse_large
from underpaint_engines.pytorch import load
from underpaint_engines.sites import derive_sites


def meta_unet(**options):
    """Build a UNet of any size at once, without weights."""
    with torch.device("meta"):
        return UNet2DConditionModel(**options)


@pytest.fixture(scope="module")
def full_size():
    return derive_sites(meta_unet(sample_size=64, cross_attention_dim=768, attention_head_dim=8))


def test_stable_diffusion_has_its_32_sites_at_their_levels(full_size):
    expected = []
    for block, level, count in (("down_blocks.0", 0, 2), ("down_blocks.1", 1, 2)):
        expected += [(f"{block}.attentions.{i}", level) for i in range(count)]
    expected += [(f"down_blocks.2.attentions.{i}", 2) for i in range(2)]
    expected += [("mid_block.attentions.0", 3)]
    for block, level in (("up_blocks.1", 2), ("up_blocks.2", 1), ("up_blocks.3", 0)):
        expected += [(f"{block}.attentions.{i}", level) for i in range(3)]
    for kind, attn in (("self", "attn1"), ("cross", "attn2")):
        found = [(site.name, site.level) for site in full_size.of_kind(kind)]
        assert found == [(f"{n}.transformer_blocks.0.{attn}", level) for n, level in expected]
        assert all(site.heads == 8 for site in full_size.of_kind(kind))
    channels = {0: 320, 1: 640, 2: 1280, 3: 1280}
    assert all(s.channels == channels[s.level] for s in full_size.of_kind("cross"))
    assert full_size.word_level == 2
    assert len(full_size.select(full_size.words())) == 5
    assert full_size.deepest_level == 3


def test_stable_diffusion_2_has_its_own_heads():
    sites = derive_sites(
        meta_unet(
            sample_size=96,
            cross_attention_dim=1024,
            attention_head_dim=(5, 10, 20, 20),
            use_linear_projection=True,
        )
    )
    heads = {0: 5, 1: 10, 2: 20, 3: 20}
    assert all(site.heads == heads[site.level] for site in sites.of_kind("cross"))
    assert len(sites.of_kind("self")) == 16


def test_the_resnet_that_self_guidance_reads_is_a_site(full_size):
    site = next(s for s in full_size.all if s.name == "up_blocks.3.resnets.1")
    assert (site.kind, site.place, site.level, site.channels) == ("activation", "up", 0, 320)


def test_sites_are_listed_in_call_order(engine, make_call):
    names = {site.name for site in engine.info.sites.all}
    called = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: called.append(name))
        for name, module in engine._unet.named_modules()
        if name in names
    ]
    engine.predict(make_call(engine))
    for handle in handles:
        handle.remove()
    assert called == [site.name for site in engine.info.sites.all]
    attentions = [m for m in engine._unet.modules() if isinstance(m, Attention)]
    assert sum(site.kind != "activation" for site in engine.info.sites.all) == len(attentions)


@pytest.mark.parametrize("size", [(16, 16), (16, 24), (18, 13)])
def test_levels_and_widths_are_those_of_what_is_read(engine, make_call, size):
    sites = engine.info.sites.all
    call = make_call(
        engine,
        maps={s.name: "mean" for s in sites if s.kind != "activation"},
        features=frozenset(s.name for s in sites if s.kind == "activation"),
    )
    sample = torch.randn(3, 4, *size)
    output = engine.predict(type(call)(**{**vars(call), "sample": sample}))
    for site in sites:
        height, width = (-(-side // 2**site.level) for side in size)
        if site.kind == "activation":
            assert output.features[site.name].shape == (3, site.channels, height, width)
        else:
            keys = 77 if site.kind == "cross" else height * width
            assert output.maps[site.name].shape == (3, 1, height * width, keys)


def test_word_level_is_two_or_the_deepest_there_is(engine_of):
    assert engine_of("sd1").info.sites.word_level == 2
    assert engine_of("sd2").info.sites.word_level == 1


def test_the_checkpoint_may_set_word_level_and_defaults(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint("sd1"), tmp_path / "model")
    settings = {"word_level": 1, "guidance_scale": 3, "num_inference_steps": 20, "license": "MIT"}
    (folder / "underpaint.json").write_text(json.dumps(settings))
    info = load(folder, name="mine").info
    assert (info.sites.word_level, info.guidance_scale, info.num_inference_steps) == (1, 3.0, 20)
    assert info.digest == load(checkpoint("sd1"), name="mine").info.digest
    (folder / "underpaint.json").write_text('{"word_level": 7}')
    with pytest.raises(ModelLoadError, match=r"levels \[0, 1, 2\]"):
        load(folder, name="mine")
    (folder / "underpaint.json").write_text('{"guidance_scale": "much"}')
    with pytest.raises(ModelLoadError, match=r"underpaint.json.*guidance_scale"):
        load(folder, name="mine")


def test_check_refuses_unknown_sites_and_large_self_maps(sd1, full_size):
    needs = Needs(taps=(Tap(SiteSelector("self")),), edits=True, gradient=frozenset({"sample"}))
    sd1.check(needs, (16, 16))
    with pytest.raises(UnknownSiteError, match="No site matches"):
        sd1.check(Needs(taps=(Tap(SiteSelector("cross", levels=frozenset({9}))),)), (16, 16))
    with pytest.raises(NotOfferedError, match="64x64"):
        sd1.check(needs, (64, 64))
    with pytest.raises(NotOfferedError, match=r"down_blocks.0.*64x64.*32x32"):
        refuse_large(full_size.of_kind("self"), (64, 64))
    refuse_large(full_size.select(SiteSelector("self", levels=frozenset({1, 2}))), (64, 64))
    refuse_large(full_size.of_kind("cross"), (64, 64))


def test_predict_refuses_self_maps_that_are_large_at_the_calls_size(sd1, make_call):
    name = sd1.info.sites.of_kind("self")[0].name
    call = make_call(sd1, maps={name: "mean"})
    wide = type(call)(**{**vars(call), "sample": torch.randn(3, 4, 40, 40)})
    with pytest.raises(NotOfferedError, match="40x40"):
        sd1.predict(wide)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"down_block_types": ("DownBlock2D",) * 2}, "no cross attention"),
        ({"mid_block_type": None}, "no mid block"),
        ({"attention_type": "gated"}, "fuser.attn is attention of a kind"),
    ],
)
def test_unets_that_cannot_be_edited_are_refused(options, message):
    base = {
        "block_out_channels": (32, 32),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 32,
    }
    with pytest.raises(ModelLoadError, match=message):
        derive_sites(meta_unet(**{**base, **options}))
