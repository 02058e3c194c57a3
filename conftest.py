"""Settings of all test suites in this repository."""

import pytest
import torch

pytest_plugins = ["underpaint.testing.fixtures"]

# The test models are so small that a second thread only adds waiting.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Draw the same numbers in every run: what fails once fails again."""
    torch.manual_seed(0)
