"""Settings of all test suites in this repository."""

import torch

pytest_plugins = ["underpaint.testing.fixtures"]

# The test models are so small that a second thread only adds waiting.
torch.set_num_threads(1)
