"""Ranking: best first among the images of one prompt and picture, with all that is theirs."""

import pytest
import torch
from underpaint import Pipeline
from underpaint.errors import InvalidRequestError, NotOfferedError
from underpaint.testing import EditSession, ToyEngine, greatest_difference
from underpaint_blended_latent_diffusion import BlendedLatentDiffusion

BOX = (0.25, 0.25, 0.75, 0.75)
SCORE = "blended-latent-diffusion.score"


class RedScorer:
    """Likes red, and keeps what it was shown."""

    def __init__(self):
        self.seen = []

    def image_features(self, images):
        self.seen.append(images)
        return images.mean((2, 3))

    def text_features(self, prompts):
        return torch.tensor([[1.0, 0.0, 0.0]]).repeat(len(prompts), 1)


@pytest.fixture
def ranked():
    return EditSession(Pipeline(ToyEngine(), scorer=RedScorer(), max_rows=4), "a dog")


@pytest.mark.parametrize("rank", [None, True])
def test_the_best_comes_first_with_its_seed_also_of_split_runs(ranked, picture, rank):
    call = {"image": picture(), "num_images_per_prompt": 5, "seed": 3}
    best = ranked(BlendedLatentDiffusion(box=BOX, rank=rank), **call)
    plain = ranked(BlendedLatentDiffusion(box=BOX, rank=False), **call)
    scores = best.reports[SCORE]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == 5
    assert SCORE not in plain.reports
    assert plain.seeds == (3, 4, 5, 6, 7) != best.seeds
    for place, seed in enumerate(best.seeds):
        assert greatest_difference([best.images[place]], [plain.images[seed - 3]]) < 1e-4
        assert torch.allclose(best.latents[place], plain.latents[seed - 3], atol=1e-4)


def test_what_is_scored_is_black_outside_of_the_mask_and_not_put_right(ranked, picture):
    ranked(BlendedLatentDiffusion(box=BOX), image=picture())
    [seen] = ranked.pipeline.scorer.seen
    assert seen.shape == (1, 3, 32, 32)
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[8:24, 8:24] = True
    assert (seen[..., ~inside] == 0).all()
    raw = ranked(BlendedLatentDiffusion(box=BOX, preserve="none"), image=picture()).images[0]
    assert torch.equal(seen[0][:, inside], raw[:, inside])


def test_prompts_and_pictures_stay_in_their_order(ranked, picture):
    call = {"prompt": ["a dog", "a fish"], "num_images_per_prompt": 2, "seed": [3, 4, 5, 6]}
    for image in (picture(), [picture(0), picture(1)]):
        result = ranked(BlendedLatentDiffusion(box=BOX), image=image, **call)
        scores = result.reports[SCORE]
        assert set(result.seeds[:2]) == {3, 4}
        assert set(result.seeds[2:]) == {5, 6}
        assert scores[0] > scores[1]
        assert scores[2] > scores[3]


def test_equal_prompts_on_different_pictures_are_not_ranked_together(ranked, picture):
    call = {"prompt": ["a dog", "a dog"], "seed": [3, 4]}
    for images in ([picture(0), picture(1)], [picture(1), picture(0)]):
        result = ranked(BlendedLatentDiffusion(box=BOX), image=images, **call)
        assert result.seeds == (3, 4)


def test_without_a_scorer_nothing_is_ranked_unless_that_was_asked_for(session, picture):
    call = {"image": picture(), "num_images_per_prompt": 3, "seed": 3}
    result = session(BlendedLatentDiffusion(box=BOX), **call)
    assert result.seeds == (3, 4, 5)
    assert SCORE not in result.reports
    with pytest.raises(NotOfferedError, match="no scorer"):
        session(BlendedLatentDiffusion(box=BOX, rank=True), **call)


def test_ranking_needs_decoded_pictures(ranked, picture):
    call = {"image": picture(), "output_type": "latent"}
    assert SCORE not in ranked(BlendedLatentDiffusion(box=BOX), **call).reports
    with pytest.raises(InvalidRequestError, match="rank=True needs decoded pictures"):
        ranked(BlendedLatentDiffusion(box=BOX, rank=True), **call)
