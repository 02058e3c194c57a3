from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
import torch
from underpaint.engine import EditInputs, UNetCall
from underpaint_engines.pytorch import PyTorchEngine, load

from tests.tiny_checkpoints import Kind


@pytest.fixture(scope="session")
def engine_of(checkpoint: Callable[[Kind], Path]) -> Callable[[Kind], PyTorchEngine]:
    return cache(lambda kind: load(checkpoint(kind), name=kind))


@pytest.fixture(params=get_args(Kind))
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture
def engine(kind: Kind, engine_of: Callable[[Kind], PyTorchEngine]) -> PyTorchEngine:
    return engine_of(kind)


@pytest.fixture
def sd1(engine_of: Callable[[Kind], PyTorchEngine]) -> PyTorchEngine:
    return engine_of("sd1")


@pytest.fixture(scope="session")
def make_call() -> Callable[..., UNetCall]:
    def make(engine: PyTorchEngine, rows: int = 3, seed: int = 0, **fields: object) -> UNetCall:
        info, generator = engine.info, torch.Generator().manual_seed(seed)
        sample = torch.randn(rows, info.latent_channels, *info.latent_size, generator=generator)
        context = torch.randn(rows, info.context_length, info.context_width, generator=generator)
        timestep = torch.randint(0, 1000, (rows,), generator=generator)
        return UNetCall(sample, timestep, context, **fields)

    return make


@pytest.fixture(scope="session")
def make_edits() -> Callable[..., EditInputs]:
    """Return edits in which everything differs by row, token and site."""

    def make(engine: PyTorchEngine, rows: int = 3, seed: int = 0) -> EditInputs:
        sites, length = engine.info.sites, engine.info.context_length
        generator = torch.Generator().manual_seed(100 + seed)

        def gate() -> torch.Tensor:
            return torch.rand(len(sites.of_kind("self")), rows, generator=generator) < 0.5

        height, width = engine.info.latent_size
        return EditInputs(
            source_row=torch.tensor([0, 0, *range(rows - 2)])[:rows],
            cross_map=torch.rand(rows, length, length, generator=generator) / length,
            cross_scale=2 * torch.rand(rows, length, generator=generator),
            self_q=gate(),
            self_k=gate(),
            self_v=gate(),
            cross_bias={
                site.name: torch.randn(
                    rows, height * width // 4**site.level, length, generator=generator
                )
                for site in sites.of_kind("cross")[::2]
            },
        )

    return make
