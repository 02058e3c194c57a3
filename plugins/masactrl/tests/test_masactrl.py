"""MasaCtrl: the rules of every edit, identity, and the paper written out literally."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer
from underpaint import Pipeline, registry
from underpaint.errors import InvalidRequestError
from underpaint.testing import assert_identity_at_zero_strength, check_plugin
from underpaint_masactrl import MasaCtrl

SOURCE, TARGET = "a small red cat on grass", "a large cat on grass"
STEPS, GUIDANCE = 4, 4.0


@pytest.fixture(scope="module")
def pipe():
    return Pipeline.from_pretrained("picturebook")


def test_it_keeps_the_rules():
    report = check_plugin(MasaCtrl(source=SOURCE), prompt=TARGET)
    assert report.hooks == ("attention_edits", "branches", "needs")
    assert report.branches == ("source",)
    assert report.change > 0.001
    assert report.reproducible


def test_beginning_at_the_end_changes_nothing():
    assert_identity_at_zero_strength(MasaCtrl(source=SOURCE, begin=1.0), prompt=TARGET)


def test_its_own_prompt_as_the_source_changes_nothing():
    """The same keys and values: mutual self-attention is then the edit's own."""
    assert_identity_at_zero_strength(MasaCtrl(source=TARGET, begin=0.0), prompt=TARGET)


def test_the_papers_layer_is_the_eleventh_of_sixteen(pipe):
    sites = pipe.engine.info.sites
    assert MasaCtrl(source=SOURCE).first_layer(sites) == 5  # of 7: the two at a quarter
    sixteen = list(sites.of_kind("self")) * 3
    sites = type(sites)(tuple(sixteen[:16]), sites.word_level)
    assert MasaCtrl(source=SOURCE).first_layer(sites) == 10


def test_a_layer_that_is_not_there_is_told(edit_session):
    with pytest.raises(InvalidRequestError, match=r"Give 0 to \d"):
        edit_session(MasaCtrl(source=SOURCE, layer=99))


def test_a_followed_source_has_no_unconditional_half(edit_session):
    picture = torch.rand(3, 32, 32)
    edit = MasaCtrl(source=SOURCE, begin=0.0)
    for follow, halves in ((True, {"cond"}), (False, {"cond", "uncond"})):
        trace = edit_session.trace(edit, prompt=TARGET, image=picture, follow=follow)
        assert {each.half for each in trace.steps[0].edits} == halves
        assert trace.result.trajectory is not None


class Mutual:
    """Attention whose map exists; rows are u_source, u_target, c_source, c_target."""

    on = False

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (
            each.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for each in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        if self.on:
            k, v = k[[0, 0, 2, 2]], v[[0, 0, 2, 2]]
        maps = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1)
        return attn.to_out[0]((maps @ v).transpose(1, 2).flatten(2))


@torch.no_grad()
def literal(folder, start, layer, noise):
    """Return the final latents of source and target, ``[2, 4, h, w]``."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).eval()
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", torch_dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    processors = []
    for name, module in unet.named_modules():
        if name.endswith("attn1"):
            module.set_processor(Mutual())
            processors.append((name, module.processor))
    order = ("down_blocks", "mid_block", "up_blocks")  # the modules are listed up before mid
    processors.sort(key=lambda pair: order.index(pair[0].split(".")[0]))
    texts = tokenizer(["", "", SOURCE, TARGET], padding="max_length", return_tensors="pt")
    context = encoder(texts.input_ids)[0]
    alphas = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)
    times = [k * (1000 // STEPS) + 1 for k in range(STEPS)][::-1]
    x = noise[None].expand(2, -1, -1, -1)
    for index, (t, following) in enumerate(zip(times, [*times[1:], -1], strict=True)):
        for number, (_, processor) in enumerate(processors):
            processor.on = index >= start and number >= layer
        a, a_next = alphas[t], alphas[max(following, 0)]
        e_u, e_c = unet(torch.cat([x, x]), t, context).sample.chunk(2)
        e = e_u + GUIDANCE * (e_c - e_u)
        x0 = (x - (1 - a).sqrt() * e) / a.sqrt()
        x = a_next.sqrt() * x0 + (1 - a_next).sqrt() * e
    return x


@pytest.mark.parametrize(("start", "layer"), [(1, 5), (0, 0), (2, 3)])
def test_equals_the_literal_reference(pipe, start, layer):
    noise = torch.randn(4, 32, 32, generator=torch.Generator().manual_seed(5))
    _, folder = registry.locate_model("picturebook")
    expected = literal(Path(folder), start, layer, noise)
    call = {"seed": 5, "num_inference_steps": STEPS, "output_type": "latent"}
    edit = MasaCtrl(source=SOURCE, begin=start / STEPS, layer=layer)
    result = pipe(TARGET, edits=[edit], guidance_scale=GUIDANCE, **call)
    plain = pipe(TARGET, guidance_scale=GUIDANCE, **call).latents[0]
    assert (plain - expected[1]).abs().max() > 0.1  # the edit edits
    torch.testing.assert_close(result.branches["source"][0], expected[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(result.latents[0], expected[1], atol=1e-4, rtol=0)
