"""The shipped CLIP: a picture is nearest to what is true of it, whole or masked."""

import numpy as np
import pytest
import torch
from underpaint import Pipeline, registry
from underpaint_engines.scorer import load
from underpaint_picturebook import model
from underpaint_picturebook.evaluate_clip import answers, features, retrieval
from underpaint_picturebook.world import scene

FRESH = [scene(70_000_000 + seed) for seed in range(100)]


@pytest.fixture(scope="module")
def scorer():
    return load(model(), torch.device("cpu"))


@pytest.fixture(scope="module")
def whole(scorer):
    with torch.no_grad():
        return features(scorer, [made.image for made in FRESH])


def test_captions_and_pictures_find_each_other(scorer, whole):
    assert min(retrieval(scorer, FRESH, whole).values()) > 0.8


@torch.no_grad()
def test_short_prompts_are_answered(scorer, whole):
    right = answers(scorer, FRESH, whole)
    assert right["class of a single object, of 16"] > 0.95
    assert right["class of an object, all else zeroed"] > 0.9
    assert right["colour of a single object, of 10"] > 0.9
    assert right["background, of 6"] > 0.6


def test_the_pipeline_has_it():
    pipe = Pipeline.from_pretrained("picturebook")
    image = torch.from_numpy(np.stack([FRESH[0].image])).permute(0, 3, 1, 2) / 255
    own, other = pipe.engine.scorer().text_features([FRESH[0].caption, FRESH[1].caption])
    features_ = pipe.engine.scorer().image_features(image)[0]
    assert own @ features_ > other @ features_
    assert (registry.locate_model("picturebook")[1] / "clip").is_dir()
