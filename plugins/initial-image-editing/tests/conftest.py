from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import ClassVar

import pytest
import underpaint
from hypothesis import settings

HERE = Path(__file__).parent
for folder in (
    HERE,
    HERE.parents[2],
):  # literal_layout, and the repository's tests.tiny_checkpoints
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

settings.register_profile("quick", max_examples=40, deadline=None)
settings.load_profile("quick")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    from tests.tiny_checkpoints import save_tiny_checkpoint

    folder = tmp_path_factory.mktemp("checkpoints")
    return cache(lambda kind: save_tiny_checkpoint(folder / kind, kind))


@pytest.fixture
def with_branch() -> Callable[[str], underpaint.Method]:
    """Return a method that draws another prompt beside, from the same noise."""

    class Beside(underpaint.Method):
        method: ClassVar[str] = "beside"
        prompt: str

        def start(self) -> BesideRun:
            return BesideRun(self.prompt)

    class BesideRun:
        def __init__(self, prompt: str) -> None:
            self.prompt = prompt

        @underpaint.hookimpl
        def branches(self) -> list[underpaint.Branch]:
            return [underpaint.Branch("other", self.prompt)]

    return lambda prompt: Beside(prompt=prompt)
