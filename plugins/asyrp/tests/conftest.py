from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from underpaint import Method
from underpaint.cache_folder import FOLDER_VARIABLE
from underpaint.testing import toy_pipeline
from underpaint_asyrp import Attribute, AttributeFacts


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def make_attribute(tmp_path) -> Callable[..., str]:
    """Write an attribute with weights that do something, and return its path."""

    def make(name="night", model=None, seed=0, scale=0.5, **facts) -> str:
        info = model or toy_pipeline().engine.info
        site = next(site for site in info.sites.all if site.name == "mid_block")
        given = {
            "kind": "conv",
            "model": info.name,
            "model_digest": info.digest,
            "channels": site.channels,
            "source": "a cat by day",
            "target": "a cat at night",
            "t_edit": 300,
            "num_inference_steps": 4,
            "guidance_scale": 4.0,
        }
        known = AttributeFacts.model_validate(given | facts)
        direction = known.build()
        generator = torch.Generator().manual_seed(seed)
        for weight in direction.parameters():
            weight.data = scale * torch.randn(weight.shape, generator=generator)
        path: Path = tmp_path / f"{name}.safetensors"
        Attribute(known, direction).save(path)
        return str(path)

    return make


@pytest.fixture
def make_method():
    """Return a method whose plugin comes from `start`."""

    def make(start):
        class Edit(Method):
            method: ClassVar[str] = "test"

            def start(self):
                return start()

        return Edit()

    return make
