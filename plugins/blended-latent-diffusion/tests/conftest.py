"""A session, pictures and a folder for inverted paths."""

import sys
from pathlib import Path

import pytest
import torch
from underpaint.cache_folder import FOLDER_VARIABLE
from underpaint.testing import EditSession

HERE = str(Path(__file__).parent)
if HERE not in sys.path:  # literal_blended
    sys.path.append(HERE)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def session():
    return EditSession(prompt="a dog on grass")


@pytest.fixture
def picture():
    """Return a picture of 32x32 pixels in 8 bits, by seed."""

    def make(seed=0):
        values = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed))
        return (values * 255).round() / 255

    return make
