from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from transformers import CLIPTextModel, CLIPTokenizer
from underpaint.errors import InvalidRequestError, UnknownWordError

PROMPTS = [
    "a cat on grass",
    "A  CAT,   on the GRASS!",
    "the dog's catalogue: 12 re-drawings (blue & red)",
    "café ñandú \n 日本 🐱 ﬁne",
    "",
    "   ",
    "<|endoftext|> cat",
]


@pytest.fixture
def reference(kind, checkpoint):
    return CLIPTokenizer.from_pretrained(checkpoint(kind) / "tokenizer")


@pytest.mark.parametrize("prompt", [*PROMPTS, "cat " * 100, "catalogue grass " * 20])
def test_ids_are_those_of_transformers(engine, reference, prompt):
    (tokens,) = engine.tokenize([prompt])
    expected = reference(prompt, padding="max_length", truncation=True, max_length=77)
    assert list(tokens.ids) == expected["input_ids"]
    assert len(tokens.spans) == 77
    assert tokens.text == prompt


@pytest.mark.parametrize("prompt", PROMPTS)
def test_spans_cover_the_prompt_and_nothing_else(engine, prompt):
    (tokens,) = engine.tokenize([prompt])
    inner = tokens.spans[1 : tokens.count - 1]
    assert all(span is not None for span in inner)
    assert tokens.spans[0] is None
    assert set(tokens.spans[tokens.count - 1 :]) == {None}
    covered = {place for start, end in inner for place in range(start, end)}
    assert covered == {place for place, letter in enumerate(prompt) if not letter.isspace()}
    assert [span[0] for span in inner] == sorted(span[0] for span in inner)
    assert tokens.dropped == ""


def test_words_are_found_with_all_their_tokens(sd1):
    (tokens,) = sd1.tokenize(["A CAT on the catalogue,  grass and  café!"])

    def texts(phrase):
        spans = [tokens.spans[index] for index in tokens.find(phrase)]
        return [tokens.text[start:end] for start, end in spans]

    assert texts("cat") == ["CAT"]
    assert texts("catalogue") == ["cat", "a", "log", "u", "e"]
    assert texts("grass") == ["gra", "ss"]
    assert texts("café") == ["ca", "f", "é", "é"]


def test_a_decomposed_letter_is_found(sd1):
    (tokens,) = sd1.tokenize(["cafe\u0301 on grass"])
    assert len(tokens.find("on")) == 1
    start, end = tokens.spans[tokens.find("on")[0]]
    assert tokens.text[start:end] == "on"


def test_what_does_not_fit_is_reported(engine):
    prompt = "cat " * 74 + "dog grass on the blue"
    (tokens,) = engine.tokenize([prompt])
    assert tokens.count == 77
    assert tokens.dropped == "grass on the blue"
    assert tokens.find("dog") == (75,)
    with pytest.raises(UnknownWordError, match="cut off"):
        tokens.find("blue")


def test_a_word_cut_in_its_middle_is_reported_from_there(engine):
    (tokens,) = engine.tokenize(["cat " * 74 + "grass"])
    assert tokens.dropped == "ss"
    assert len(tokens.find("grass")) == 1


def test_tokenizing_is_safe_from_many_threads(engine):
    prompts = [f"a cat on grass number {index} " * (index % 20) for index in range(200)]
    serial = engine.tokenize(prompts)
    with ThreadPoolExecutor(8) as pool:
        parallel = list(pool.map(lambda prompt: engine.tokenize([prompt])[0], prompts))
    assert parallel == serial


def test_text_embeddings_are_those_of_transformers(kind, engine, reference, checkpoint):
    model = CLIPTextModel.from_pretrained(checkpoint(kind) / "text_encoder").eval()
    ids = reference(PROMPTS, padding="max_length", truncation=True, max_length=77)["input_ids"]
    with torch.no_grad():
        expected = model(torch.tensor(ids)).last_hidden_state
    embeddings = engine.encode_text(engine.tokenize(PROMPTS))
    assert embeddings.shape == (len(PROMPTS), 77, 32)
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings, expected)
    assert (embeddings[0] - embeddings[1]).abs().max() > 0.1


def test_images_become_latents_as_in_diffusers(kind, engine, checkpoint):
    images = torch.rand(2, 3, 32, 24)
    folder = checkpoint(kind) / "vae"
    with torch.no_grad():
        if kind == "tiny-vae":
            vae = AutoencoderTiny.from_pretrained(folder, low_cpu_mem_usage=False)
            expected = vae.encode(images * 2 - 1).latents
            decoded = vae.decode(expected).sample / 2 + 0.5
        else:
            vae = AutoencoderKL.from_pretrained(folder, low_cpu_mem_usage=False).eval()
            expected = vae.encode(images * 2 - 1).latent_dist.mean * 0.18215
            decoded = vae.decode(expected / 0.18215).sample / 2 + 0.5
    latents = engine.encode_image(images)
    assert latents.shape == (2, 4, 16, 12)
    torch.testing.assert_close(latents, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(engine.decode_latents(latents), decoded, atol=1e-4, rtol=1e-4)


def test_an_image_does_not_depend_on_its_batch(engine):
    latents = torch.randn(3, 4, 16, 16)
    alone = torch.cat([engine.decode_latents(each) for each in latents.split(1)])
    assert torch.equal(engine.decode_latents(latents), alone)


def test_decoding_is_differentiable_on_request(engine):
    latents = torch.randn(2, 4, 16, 16)
    assert not engine.decode_latents(latents).requires_grad
    leaf = latents.clone().requires_grad_()
    energy = engine.decode_latents(leaf).square().sum((1, 2, 3))
    (gradient,) = torch.autograd.grad(energy[0], leaf)
    assert gradient[0].abs().max() > 0
    assert gradient[1].abs().max() == 0
    direction, step = gradient[0] / gradient[0].norm(), 0.02

    def value(distance):
        return float(engine.decode_latents(latents[:1] + distance * direction).square().sum())

    slope = (8 * (value(step) - value(-step)) - value(2 * step) + value(-2 * step)) / (12 * step)
    assert slope == pytest.approx(float(gradient.norm()), rel=1e-2)


@pytest.mark.parametrize("shape", [(1, 3, 31, 32), (1, 1, 32, 32), (3, 32, 32)])
def test_images_that_do_not_fit_are_refused(sd1, shape):
    with pytest.raises(InvalidRequestError, match=r"images: expected .* multiples of 2"):
        sd1.encode_image(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 3, 16, 16), (4, 16, 16)])
def test_latents_that_do_not_fit_are_refused(sd1, shape):
    with pytest.raises(InvalidRequestError, match=r"latents: expected \[B, 4, h, w\]"):
        sd1.decode_latents(torch.zeros(shape))


def test_a_copy_of_the_decoder_decodes_the_same_and_leaves_the_engine_alone(engine):
    latents = torch.randn(2, engine.info.latent_channels, 8, 8)
    before = engine.decode_latents(latents).detach()
    decoder = engine.decoder()
    assert torch.allclose(decoder(latents), before, atol=1e-6)
    trained = [name for name, each in decoder.named_parameters() if each.requires_grad]
    assert trained
    assert all(name.startswith("vae.decoder.") for name in trained)
    with torch.no_grad():
        for each in decoder.parameters():
            each.add_(0.1 if each.requires_grad else 0.0)
    assert not torch.allclose(decoder(latents), before, atol=1e-3)
    assert torch.equal(engine.decode_latents(latents), before)
    assert torch.equal(engine.decoder()(latents), engine.decoder()(latents))
