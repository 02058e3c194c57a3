"""Fixtures for pytest: ``pytest_plugins = ["underpaint.testing.fixtures"]`` in a conftest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from underpaint.pipeline import Pipeline
from underpaint.testing.session import EditSession
from underpaint.testing.toy import ToyEngine


@pytest.fixture
def toy_engine() -> ToyEngine:
    """Return a fresh toy engine."""
    return ToyEngine()


@pytest.fixture
def edit_session(toy_engine: ToyEngine) -> EditSession:
    """Return a session on a toy pipeline: ``edit_session(MyEdit())`` runs a short edit."""
    return EditSession(Pipeline(toy_engine))


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in this process, in an empty folder: returns code, stdout, stderr."""
    from underpaint.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*tokens: str) -> tuple[int, str, str]:
        code = main(list(tokens))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
