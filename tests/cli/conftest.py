from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_checkpoints import save_tiny_checkpoint

PACKAGE = Path(__file__).parent / "package"
"""A package as pip installs it, with methods and a command."""


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    monkeypatch.syspath_prepend(str(PACKAGE))


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return str(save_tiny_checkpoint(tmp_path_factory.mktemp("cli") / "tiny"))


@pytest.fixture
def swap(cli, model):
    """Run the fake method with few steps on the tiny model."""

    def run(*tokens, prompt="a dog on grass", source="a cat on grass"):
        flags = ("--source", source, "--prompt", prompt, "--model", model, "--steps", "3")
        return cli("edit", "fake-swap", *flags, "--seed", "7", *tokens)

    return run


@pytest.fixture
def outside(tmp_path):
    """Run a command in a process of its own."""

    def run(*arguments):
        path = os.pathsep.join([str(PACKAGE), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(  # noqa: S603
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )

    return run


@pytest.fixture
def names(tmp_path):
    """Return the names of all files in the test's folder."""

    def listing():
        files = (file for file in tmp_path.rglob("*") if file.is_file())
        return sorted(str(file.relative_to(tmp_path)) for file in files)

    return listing


@pytest.fixture
def record(tmp_path):
    def read(path="out/result.json"):
        return json.loads((tmp_path / path).read_text())

    return read
