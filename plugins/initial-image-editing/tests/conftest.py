from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
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
