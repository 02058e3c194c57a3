"""Tiny models, made once for all tests, and methods made of a plugin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from underpaint import Method
from underpaint_engines.cache import FOLDER_VARIABLE
from underpaint_engines.onnxruntime import OnnxRuntime
from underpaint_export.bundle import write_bundle

from tests.tiny_checkpoints import Kind, save_tiny_checkpoint


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep what tests export on first use out of the user's cache, and for all tests."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], Path]:
    """Return the folder of a tiny checkpoint; tests must not write into it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return cache(lambda kind: save_tiny_checkpoint(folder / kind, kind))


@pytest.fixture(scope="session")
def bundle_of(
    checkpoint: Callable[[Kind], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Kind], Path]:
    """Return a tiny checkpoint's bundle; tests must not write into it."""
    folder = tmp_path_factory.mktemp("bundles")

    def export(kind: Kind) -> Path:
        runtime = OnnxRuntime(torch.device("cpu"), torch.float32)
        write_bundle(checkpoint(kind), folder / kind, runtime=runtime, name=kind, quiet=True)
        return folder / kind

    return cache(export)


@pytest.fixture
def make_method():
    """Return a method of a given name whose plugin comes from `start`."""

    def make(start, name="test"):
        class Edit(Method):
            method: ClassVar[str] = name

            def start(self):
                return start()

        return Edit()

    return make
