"""Tiny models, made once for all tests, and methods made of a plugin."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from filelock import FileLock
from underpaint import Method
from underpaint.cache_folder import FOLDER_VARIABLE
from underpaint.registry import load
from underpaint_engines.cache import cached
from underpaint_engines.onnxruntime import OnnxRuntime
from underpaint_export.bundle import write_bundle

from tests.tiny_checkpoints import Kind, save_tiny_checkpoint


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of this test run share."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session", autouse=True)
def own_cache(shared_folder: Path) -> Iterator[None]:
    """Keep what tests export on first use out of the user's cache, and for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(shared_folder / "cache"))
        yield


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Kind], Path]:
    """Return the folder of a tiny checkpoint; tests must not write into it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return cache(lambda kind: save_tiny_checkpoint(folder / kind, kind))


@pytest.fixture(scope="session")
def bundle_of(checkpoint: Callable[[Kind], Path], shared_folder: Path) -> Callable[[Kind], Path]:
    """Return a tiny checkpoint's bundle; tests must not write into it."""
    runtime = OnnxRuntime(torch.device("cpu"), torch.float32)

    def export(kind: Kind) -> Path:
        folder = shared_folder / f"bundle-{kind}"
        with FileLock(folder.with_suffix(".lock")):
            if not folder.exists():
                write_bundle(checkpoint(kind), folder, runtime=runtime, name=kind, quiet=True)
        return folder

    return cache(export)


@pytest.fixture(scope="session")
def picturebook_bundle(own_cache: None) -> Path:
    """Return the bundle that ONNX Runtime's first use of picturebook makes."""
    runtime = OnnxRuntime(torch.device("cpu"), torch.float32)
    return cached(load("models", "picturebook")(), name="picturebook", runtime=runtime)


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
