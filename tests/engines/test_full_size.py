from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from underpaint.engine import EditInputs, UNetCall
from underpaint.sites import SiteSelector
from underpaint_engines.checkpoint import open_checkpoint
from underpaint_engines.modules import describe, load_modules
from underpaint_engines.pytorch import PyTorchEngine


@pytest.fixture(scope="module")
def full_size(checkpoint):
    """Return an engine around a UNet of Stable Diffusion 1.5's size with random weights."""
    opened = open_checkpoint(checkpoint("sd1"))
    tiny = load_modules(opened, torch.float32, torch.device("cpu"))
    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
    modules = replace(tiny, unet=unet.eval().requires_grad_(False))
    return PyTorchEngine(modules, describe("full", opened, modules))


@pytest.mark.slow
def test_an_edited_step_with_taps_at_the_size_of_stable_diffusion(full_size):
    sites = full_size.info.sites
    assert [len(sites.of_kind(kind)) for kind in ("self", "cross")] == [16, 16]
    self_maps = sites.select(SiteSelector("self", levels=frozenset({1, 2})))
    call = UNetCall(
        sample=torch.randn(2, 4, 64, 64),
        timestep=torch.tensor([981, 981]),
        context=torch.randn(2, 77, 768),
        edits=replace(
            EditInputs.identity(2, 77, 16),
            source_row=torch.tensor([0, 0]),
            cross_map=torch.stack([torch.zeros(77, 77), torch.eye(77)]),
            cross_scale=torch.stack([torch.ones(77), torch.zeros(77)]),
            self_q=torch.tensor([[False, True]] * 16),
            self_k=torch.tensor([[False, True]] * 16),
        ),
        maps={s.name: "mean" for s in (*sites.select(sites.words()), *self_maps)},
        features=frozenset({"up_blocks.3.resnets.1"}),
    )
    output = full_size.predict(call)
    assert output.noise.shape == (2, 4, 64, 64)
    assert output.noise.isfinite().all()
    for site in sites.all:
        if site.name in call.maps:
            tokens = (64 >> site.level) ** 2
            keys = 77 if site.kind == "cross" else tokens
            assert output.maps[site.name].shape == (2, 1, tokens, keys)
            assert output.maps[site.name].isfinite().all()
    assert len(output.maps) == len(call.maps) == 15
    assert output.features["up_blocks.3.resnets.1"].shape == (2, 320, 64, 64)
