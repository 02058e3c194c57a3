"""Papers that edit latents and pictures: block swaps, blending, reconstruction, ranking."""

from dataclasses import replace

import pytest
import torch
from underpaint import Guidance, Needs, Pipeline, hookimpl
from underpaint.schedule import add_noise
from underpaint.testing import EditSession, ToyEngine, greatest_difference

CELLS = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
PICTURE = CELLS.repeat_interleave(4, 2).repeat_interleave(4, 3)
MASK = torch.zeros(8, 8)
MASK[2:6, 2:6] = 1


class BlockSwap:
    """Initial image editing (arXiv 2305.03382): exchange two blocks of x_T."""

    @hookimpl(wrapper=True)
    def initial_latents(self):
        latents = yield
        swapped = latents.clone()
        swapped[..., :4, :4], swapped[..., 4:, 4:] = latents[..., 4:, 4:], latents[..., :4, :4]
        return swapped


class Blended:
    """Blended Latent Diffusion (arXiv 2206.02779): outside the mask, the noised background."""

    def __init__(self, background):
        self.background = background

    @hookimpl(wrapper=True)
    def advance(self, step):
        latents = yield
        noise = step.run.randn("background", step.index)
        outside = add_noise(self.background, noise, step.next_alpha)
        return latents * MASK + outside * (1 - MASK)


class Reconstruction:
    """Its last stage: fit the decoder's output to the picture outside the mask."""

    def __init__(self, picture):
        self.picture = picture

    @hookimpl(wrapper=True)
    def decode(self, run, latents):
        first = yield
        fitted = latents.clone()
        mask = MASK.repeat_interleave(4, 0).repeat_interleave(4, 1)
        with torch.enable_grad():
            for _ in range(100):
                fitted.requires_grad_()
                error = (run.decode(fitted) - self.picture) * (1 - mask)
                (gradient,) = torch.autograd.grad(error.square().sum(), fitted)
                fitted = (fitted - 0.02 * gradient).detach()
        run.report("error", [float(error.square().sum())])
        return first * mask + run.decode(fitted).clamp(0, 1) * (1 - mask)


class Ranked:
    """CLIP ranking over all images of the request, best first."""

    @hookimpl(wrapper=True)
    def decode(self, run):
        images = yield
        text = run.scorer.text_features(run.request.prompts)
        run.report("score", (run.scorer.image_features(images) * text).sum(-1).tolist())
        return images

    @hookimpl(wrapper=True)
    def result(self):
        result = yield
        scores = result.reports["score"]
        order = sorted(range(len(scores)), key=lambda i: -scores[i])
        return replace(
            result,
            images=[result.images[i] for i in order],
            seeds=tuple(result.seeds[i] for i in order),
            reports={"score": [scores[i] for i in order]},
        )


class ToyScorer:
    def image_features(self, images):
        return images.mean((2, 3))

    def text_features(self, prompts):
        return torch.ones(len(prompts), 3)

    def vit_features(self, images):
        patches = images.unfold(2, 8, 8).unfold(3, 8, 8).mean((4, 5))
        return patches.flatten(2).transpose(1, 2), images.mean((2, 3))


def test_a_block_swap_of_the_first_latents(edit_session, make_method):
    plain, swapped = edit_session.trace(), edit_session.trace(make_method(BlockSwap))
    before, after = plain.steps[0].latents, swapped.steps[0].latents
    assert torch.equal(after[..., :4, :4], before[..., 4:, 4:])
    assert torch.equal(after[..., 4:, 4:], before[..., :4, :4])
    assert torch.equal(after[..., :4, 4:], before[..., :4, 4:])


def test_blending_keeps_the_background(edit_session, make_method):
    background = edit_session.pipeline.engine.encode_image(PICTURE)
    blended = edit_session.trace(make_method(lambda: Blended(background)))
    alpha = blended.steps[-1].next_alpha
    outside = (blended.latents[-1] - alpha**0.5 * background) * (1 - MASK)
    assert outside.abs().max() < 6 * (1 - alpha) ** 0.5
    again = edit_session.trace(make_method(lambda: Blended(background)))
    assert torch.equal(blended.latents[-1], again.latents[-1])


def test_background_reconstruction_through_a_differentiable_decoder(edit_session, make_method):
    result = edit_session(make_method(lambda: Reconstruction(PICTURE)))
    outside = (1 - MASK).repeat_interleave(4, 0).repeat_interleave(4, 1)
    error = (result.images[0] - PICTURE[0]) * outside
    before = (edit_session().images[0] - PICTURE[0]) * outside
    assert error.square().sum() < 0.1 * before.square().sum()
    assert result.reports["error"][0] < 0.1 * float(before.square().sum())


@pytest.mark.parametrize("max_rows", [64, 4])
def test_ranking_sees_all_images_also_of_split_runs(make_method, max_rows):
    session = EditSession(Pipeline(ToyEngine(), scorer=ToyScorer(), max_rows=max_rows))
    call = {"num_images_per_prompt": 5, "seed": 3}
    ranked, plain = session(make_method(Ranked), **call), session(**call)
    scores = ranked.reports["score"]
    assert scores == sorted(scores, reverse=True)
    assert sorted(ranked.seeds) == list(plain.seeds) == [3, 4, 5, 6, 7]
    assert ranked.seeds != plain.seeds
    for seed, image in zip(ranked.seeds, ranked.images, strict=True):
        assert greatest_difference([image], [plain.images[seed - 3]]) < 1e-4


def test_an_energy_on_decoded_pictures(make_method):
    """DiffuseIT on a latent model: the gradient runs through the decoder and a ViT."""

    class Bright:
        @hookimpl
        def needs(self):
            return Needs(gradient=frozenset({"sample"}))

        @hookimpl
        def guidance(self, step):
            def energy(seen):
                keys, _ = step.run.scorer.vit_features(step.run.decode(seen.x0))
                return -keys.mean((1, 2))

            return [Guidance(energy, scale=50.0)]

    session = EditSession(Pipeline(ToyEngine(), scorer=ToyScorer()))
    bright, plain = session(make_method(Bright)), session()
    assert bright.images[0].mean() > plain.images[0].mean() + 0.01
