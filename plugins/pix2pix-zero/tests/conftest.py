from __future__ import annotations

import sys
from pathlib import Path

import pytest
from underpaint.cache_folder import FOLDER_VARIABLE

ROOT = str(Path(__file__).parents[3])


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def save_tiny_checkpoint():
    """Return the function that writes a tiny checkpoint with random weights."""
    if ROOT not in sys.path:
        sys.path.append(ROOT)
    from tests.tiny_checkpoints import save_tiny_checkpoint

    return save_tiny_checkpoint


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, save_tiny_checkpoint):
    return str(save_tiny_checkpoint(tmp_path_factory.mktemp("zero") / "tiny", "sd1"))
