import sys

import pytest
import torch


@pytest.fixture
def preserve_process(monkeypatch):
    """Undo what a plugin does to the process that imports it."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "scipy"]:
        monkeypatch.delitem(sys.modules, name)
    state = torch.random.get_rng_state()
    yield
    torch.random.set_rng_state(state)
