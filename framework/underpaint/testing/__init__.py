"""Tools for plugin authors' tests."""

from underpaint.pipeline import Pipeline
from underpaint.testing.toy import ToyEngine

__all__ = ["ToyEngine", "toy_pipeline"]


def toy_pipeline() -> Pipeline:
    """Return a pipeline on a fresh `ToyEngine`."""
    return Pipeline(ToyEngine())
