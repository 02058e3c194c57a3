"""The energy: the rules of every edit, identity, its gradient, and a literal reference."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from scipy.ndimage import gaussian_filter
from transformers import CLIPTextModel, CLIPTokenizer
from underpaint import Pipeline, registry
from underpaint.errors import UnknownWordError
from underpaint.testing import EditSession, assert_identity_at_zero_strength, check_plugin
from underpaint_every_object import EveryObject
from underpaint_every_object.method import neglect, smooth

PROMPT, OBJECTS = "a fish, a car and a bird", ("fish", "car", "bird")
STEPS, GUIDANCE, SCALE = 4, 4.0, 20.0


@pytest.fixture(scope="module")
def pipe():
    return Pipeline.from_pretrained("picturebook")


def test_it_keeps_the_rules():
    report = check_plugin(EveryObject(objects=("dog",)), prompt="a dog on grass")
    assert report.hooks == ("conditioning", "guidance", "needs")
    assert report.change > 1e-4
    assert report.reproducible


@pytest.mark.parametrize("off", [{"scale": 0.0}, {"until": 0.0}])
def test_without_strength_it_changes_nothing(off):
    edit = EveryObject(objects=("dog",), **off)
    assert_identity_at_zero_strength(edit, prompt="a dog on grass")


def test_a_word_that_is_not_there_is_told(edit_session):
    with pytest.raises(UnknownWordError, match="'car'"):
        edit_session(EveryObject(objects=("car",)), prompt="a dog on grass")


def test_it_acts_in_its_window_alone():
    found = EditSession().trace(
        EveryObject(objects=("dog",), until=0.5), prompt="a dog on grass", num_inference_steps=8
    )
    moved = [
        not torch.equal(prediction.sample, step.latents)
        for step, prediction in zip(found.steps, found.predictions, strict=True)
    ]
    inside = [step.progress < 0.5 for step in found.steps]
    assert moved == inside
    assert 0 < sum(moved) < 8


def test_the_blur_is_the_papers():
    values = torch.rand(9, 7)
    wanted = gaussian_filter(values.numpy(), sigma=0.5, truncate=2.0, mode="mirror")
    assert torch.allclose(smooth(values), torch.from_numpy(wanted), atol=1e-3)


def test_the_most_neglected_object_counts(edit_session):
    tokens = edit_session.pipeline.engine.tokenize(["a dog on grass"])[0]
    maps = torch.zeros(len(tokens.ids), 6, 6)
    dog, grass = tokens.find("dog"), tokens.find("grass")
    maps[list(dog), 2:5, 2:5] = 1.0
    maps[0] = 5.0  # BOS takes no part
    assert neglect(maps, tokens, ["dog"]) < 0.1
    both = neglect(maps, tokens, ["dog", "grass"])
    assert both > 0.5
    maps[list(grass), 0:3, 0:3] = 1.0
    assert neglect(maps, tokens, ["dog", "grass"]) < both


class Open:
    """Cross-attention that keeps its maps, ``[R, H, N, L]``."""

    maps = None

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
        q, k, v = (
            each.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for each in (
                attn.to_q(hidden_states),
                attn.to_k(encoder_hidden_states),
                attn.to_v(encoder_hidden_states),
            )
        )
        self.maps = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1)
        return attn.to_out[0]((self.maps @ v).transpose(1, 2).flatten(2))


def literal_energy(maps, places, end):
    """Attend-and-Excite's loss from maps ``[16, 16, L]``, word by word."""
    text = torch.softmax(100 * maps[..., 1:end], -1)
    losses = []
    for place in places:
        own = text[..., place - 1]
        padded = torch.nn.functional.pad(own[None], (1, 1, 1, 1), mode="reflect")[0]
        weights = torch.exp(-torch.tensor([1.0, 0.0, 1.0]) / (2 * 0.5**2))
        weights = weights / weights.sum()
        blurred = sum(
            weights[i] * weights[j] * padded[i : i + 16, j : j + 16]
            for i in range(3)
            for j in range(3)
        )
        losses.append(1 - blurred.max())
    return max(losses)


def literal(folder, noise, guided):
    """Return the final latent of PROMPT, ``[4, h, w]``."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).eval()
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", torch_dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    kept = []
    for name, module in unet.named_modules():
        if name.endswith("attn2"):
            module.set_processor(Open())
            if name.startswith(("down_blocks.1", "up_blocks.1")):
                kept.append(module.processor)
    ids = tokenizer(["", PROMPT], padding="max_length", return_tensors="pt").input_ids
    pieces = tokenizer.convert_ids_to_tokens(ids[1].tolist())
    places = [pieces.index(f"{word}</w>") for word in OBJECTS]
    end = ids[1].tolist().index(tokenizer.eos_token_id)
    with torch.no_grad():
        context = encoder(ids)[0]
    alphas = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)
    times = [k * (1000 // STEPS) + 1 for k in range(STEPS)][::-1]
    x = noise[None]
    for index, (t, following) in enumerate(zip(times, [*times[1:], -1], strict=True)):
        if index < guided:
            leaf = x.clone().requires_grad_()
            unet(leaf, t, context[1:])
            mean = torch.stack([each.maps[0].mean(0) for each in kept]).mean(0)  # [N, L]
            loss = literal_energy(mean.unflatten(0, (16, 16)), places, end)
            x = x - SCALE * torch.autograd.grad(loss, leaf)[0]
        a, a_next = alphas[t], alphas[max(following, 0)]
        with torch.no_grad():
            e_u, e_c = unet(torch.cat([x, x]), t, context).sample.chunk(2)
        e = e_u + GUIDANCE * (e_c - e_u)
        x0 = (x - (1 - a).sqrt() * e) / a.sqrt()
        x = a_next.sqrt() * x0 + (1 - a_next).sqrt() * e
    return x[0]


def test_equals_the_literal_reference(pipe):
    noise = torch.randn(4, 32, 32, generator=torch.Generator().manual_seed(103))
    _, folder = registry.locate_model("picturebook")
    expected = literal(Path(folder), noise, guided=2)
    call = {"seed": 103, "num_inference_steps": STEPS, "output_type": "latent"}
    edit = EveryObject(objects=OBJECTS, scale=SCALE, until=0.5)
    result = pipe(PROMPT, edits=[edit], guidance_scale=GUIDANCE, **call)
    plain = pipe(PROMPT, guidance_scale=GUIDANCE, **call).latents[0]
    assert (plain - expected).abs().max() > 0.05  # the edit edits
    torch.testing.assert_close(result.latents[0], expected, atol=1e-3, rtol=0)
