from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from underpaint.cache_folder import FOLDER_VARIABLE
from underpaint.pipeline import Pipeline
from underpaint.testing import EditSession, ToyEngine


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("cache")))


class ToyScorer:
    """A ViT of one linear layer on patches of 8x8, and a CLIP on its [CLS]."""

    def __init__(self):
        generator = torch.Generator().manual_seed(4)
        self.project = torch.randn(192, 12, generator=generator) / 14
        self.words = torch.randn(256, 12, generator=generator)
        self.looks = 0

    def vit_features(self, images):
        self.looks += 1
        patches = F.unfold(images, 8, stride=8).mT @ self.project  # [B, N, 12]
        cls = patches.tanh().mean(1)
        return torch.cat([cls[:, None], patches], 1), cls

    def image_features(self, images):
        patches = F.unfold(images, 8, stride=8).mT @ self.project
        return F.normalize(patches.sin().mean(1), dim=-1)

    def text_features(self, prompts):
        rows = [sum(self.words[ord(letter) % 256] for letter in text) for text in prompts]
        return F.normalize(torch.stack(rows), dim=-1)

    def distance(self, first, second):
        return (first - second).square().mean((1, 2, 3))


@pytest.fixture
def scorer():
    return ToyScorer()


def picture(seed=0, size=32):
    """Return a smooth picture in 8 bits, as files have them, ``[3, H, W]`` in [0, 1]."""
    coarse = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return (F.interpolate(coarse, (size, size), mode="bilinear")[0] * 255).round() / 255


@pytest.fixture
def session(scorer):
    """A session that edits a picture on a toy engine with a toy scorer."""
    session = EditSession(Pipeline(ToyEngine(), scorer))
    session.call.update(image=picture(), num_inference_steps=8)
    return session


@pytest.fixture
def style_file(tmp_path):
    pixels = (picture(9) * 255).round().byte().permute(1, 2, 0).numpy()
    path = tmp_path / "style.png"
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def make_picture():
    return picture
