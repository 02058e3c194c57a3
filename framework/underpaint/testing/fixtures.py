"""Fixtures for pytest: ``pytest_plugins = ["underpaint.testing.fixtures"]`` in a conftest."""

from __future__ import annotations

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
