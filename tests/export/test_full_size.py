"""A checkpoint of Stable Diffusion's size is exported in the memory of an ordinary machine."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest
from underpaint.cache_folder import FOLDER_VARIABLE
from underpaint_engines import cache

from benchmarks.full_size import save_full_size_checkpoint

GIGA = 2**30
CODE = """
import sys
from underpaint_engines.onnxruntime import load
load(sys.argv[1], name="full")
"""


@pytest.mark.slow
def test_a_full_size_checkpoint_is_exported_within_24_gib(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    source = save_full_size_checkpoint(tmp_path / "checkpoint")
    subprocess.run([sys.executable, "-c", CODE, str(source)], check=True)  # noqa: S603
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 24 * GIGA
    (entry,) = cache.entries(check=True)
    assert (entry.model, entry.problem) == ("full", None)
    assert entry.size > 4e9
