"""The published variant against diffusers' own pipeline, on the same checkpoint and seed."""

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler, StableDiffusionPipeline
from diffusers.pipelines.deprecated.stable_diffusion_variants.pipeline_stable_diffusion_pix2pix_zero import (  # noqa: E501
    StableDiffusionPix2PixZeroPipeline,
)
from underpaint import Pipeline
from underpaint_pix2pix_zero import Direction, DirectionFacts, Pix2PixZero, RegularisedInversion
from underpaint_pix2pix_zero import inversion as inversion_module
from underpaint_pix2pix_zero.direction import mean_embedding

SOURCES = ["a cat on grass", "a red cat", "cat in the grass"]
TARGETS = ["a dog on grass", "a red dog", "dog in the grass"]
CAPTION = "a cat on grass"
STEPS = 5


@pytest.fixture(scope="module")
def theirs(tiny_model):
    plain = StableDiffusionPipeline.from_pretrained(
        tiny_model, safety_checker=None, requires_safety_checker=False
    )
    parts = {name: plain.components[name] for name in ("vae", "text_encoder", "tokenizer", "unet")}
    pipe = StableDiffusionPix2PixZeroPipeline(
        **parts,
        scheduler=DDIMScheduler.from_config(plain.scheduler.config),
        inverse_scheduler=DDIMInverseScheduler.from_config(plain.scheduler.config),
        feature_extractor=None,
        safety_checker=None,
        caption_generator=None,
        caption_processor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def ours(tiny_model):
    return Pipeline.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def direction(ours, tmp_path_factory):
    info, engine = ours.engine.info, ours.engine

    def encode(texts):
        return engine.encode_text(engine.tokenize(texts))

    facts = DirectionFacts(
        model=info.name, model_digest=info.digest, source="cat", target="dog", sentences=(3, 3)
    )
    path = tmp_path_factory.mktemp("direction") / "cat2dog.safetensors"
    Direction(facts, mean_embedding(encode, SOURCES), mean_embedding(encode, TARGETS)).save(path)
    return str(path)


@pytest.mark.parametrize(
    ("negative", "scale", "guidance", "seed"),
    [("", 5.0, 0.15, 0), (CAPTION, 4.0, 0.1, 1), ("in the blue", 7.5, 1.0, 2)],
)
def test_the_published_edit_is_diffusers_edit(
    theirs, ours, direction, negative, scale, guidance, seed
):
    noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed))
    expected = theirs(
        prompt=CAPTION,
        source_embeds=theirs.get_embeds(SOURCES),
        target_embeds=theirs.get_embeds(TARGETS),
        negative_prompt=negative,
        latents=noise,
        guidance_scale=scale,
        cross_attention_guidance_amount=guidance,
        num_inference_steps=STEPS,
        output_type="latent",
    ).images
    call = {"latents": noise, "num_inference_steps": STEPS, "output_type": "latent"}
    call |= {"guidance_scale": scale, "negative_prompt": negative}
    edit = Pix2PixZero(direction=direction, attention_guidance=guidance, official_quirks=True)
    result = ours(CAPTION, edits=[edit], **call)
    assert (result.latents - expected).abs().max() < 1e-3
    clean = ours(CAPTION, edits=[edit.model_copy(update={"official_quirks": False})], **call)
    unguided = ours(CAPTION, edits=[edit.model_copy(update={"attention_guidance": 0.0})], **call)
    assert (clean.latents - expected).abs().max() > 1e-2
    assert (unguided.latents - expected).abs().max() > 1e-2
    assert (result.branches["reference"][0] - expected).abs().max() > 1e-2


def test_the_regularised_inversion_is_diffusers_inversion(theirs, ours, monkeypatch):
    """With the same shifts, which neither side's generator would give the other."""
    drawn = iter(range(10**6))

    def same_shift(high, size, generator=None):
        return torch.full(size, 1 + next(drawn) % (high - 1))

    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randint", same_shift)
        expected = theirs.invert(
            CAPTION, image=latents, num_inference_steps=STEPS, output_type="np"
        ).latents
    counter = iter(range(10**6))

    def the_same(step, key):
        sides = [7, 3]  # one less than half of 16 and of 8
        return torch.tensor([[[1 + next(counter) % side for side in sides] for _ in range(4)]])

    monkeypatch.setattr(inversion_module, "draw_shifts", the_same)
    monkeypatch.setattr(type(ours.engine), "encode_image", lambda self, pixels: latents)
    call = {"num_inference_steps": STEPS, "cache": False}
    large = 64 * 64 / (16 * 16)  # theirs is not made smaller with the latents
    edit = RegularisedInversion(correlation=20 * large, divergence=20 * large)
    path = ours.invert(torch.zeros(3, 32, 32), CAPTION, edits=[edit], **call)
    assert (path.pivots[0] - expected).abs().max() < 1e-3
    plain = ours.invert(torch.zeros(3, 32, 32), CAPTION, **call)
    assert (plain.pivots[0] - expected).abs().max() > 1e-2
