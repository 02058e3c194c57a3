"""The cache: one entry for everything that matters, made once, whole, and never read broken."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from underpaint import Trajectory, registry
from underpaint.cache_folder import FOLDER_VARIABLE
from underpaint.errors import InvalidRequestError
from underpaint_engines import cache, onnxruntime
from underpaint_engines.bundle import MANIFEST, read_manifest
from underpaint_engines.onnxruntime import OnnxRuntime

from tests.tiny_checkpoints import save_tiny_checkpoint

RUNTIME = OnnxRuntime(torch.device("cpu"), torch.float32)


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache" / "bundles"


@pytest.fixture
def exports(bundle_of, monkeypatch, tmp_path):
    """Put a copier in the exporter's place, and return the file that counts its calls."""
    bundle, count = bundle_of("tiny-vae"), tmp_path / "count"
    count.touch()

    def export(source, folder, *, runtime, name):
        with count.open("a") as out:
            out.write("x")
        partial = folder.with_name(f".{folder.name}.{os.getpid()}")
        shutil.copytree(bundle, partial)
        partial.rename(folder)

    load = registry.load
    monkeypatch.setattr(
        registry, "load", lambda group, name: export if group == "exporters" else load(group, name)
    )
    return count


def open_cached(source):
    return cache.cached(source, name="tiny", runtime=RUNTIME)


def test_an_export_is_made_once(root, exports, checkpoint):
    first = open_cached(checkpoint("tiny-vae"))
    assert first.parent == root
    assert open_cached(checkpoint("tiny-vae")) == first
    assert exports.read_text() == "x"


def test_other_weights_of_the_same_structure_are_another_entry(root, exports, checkpoint, tmp_path):
    other = save_tiny_checkpoint(tmp_path / "other", "tiny-vae", seed=1)
    assert open_cached(other) != open_cached(checkpoint("tiny-vae"))
    assert exports.read_text() == "xx"


def test_another_version_of_the_runtime_is_another_entry(root, exports, checkpoint, monkeypatch):
    first = open_cached(checkpoint("tiny-vae"))
    other = OnnxRuntime(torch.device("cpu"), torch.float32)
    other.versions = {"onnxruntime": "0.0"}
    assert cache.cached(checkpoint("tiny-vae"), name="tiny", runtime=other) != first


def test_processes_that_ask_at_once_export_once(root, exports, checkpoint):
    folder = checkpoint("tiny-vae")
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=open_cached, args=(folder,)) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)
    assert [worker.exitcode for worker in workers] == [0] * 8
    assert exports.read_text() == "x"


@pytest.mark.parametrize("place", [0, -1])
def test_a_flipped_byte_anywhere_leads_to_another_export(root, exports, checkpoint, place):
    folder = open_cached(checkpoint("tiny-vae"))
    names = [MANIFEST, *read_manifest(folder).files]
    for name in names:
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 0xFF
        (folder / name).write_bytes(bytes(content))
        assert open_cached(checkpoint("tiny-vae")) == folder
        assert cache.entries(check=True)[0].problem is None
    assert exports.read_text() == "x" * (1 + len(names))


def test_a_missing_file_leads_to_another_export(root, exports, checkpoint):
    folder = open_cached(checkpoint("tiny-vae"))
    (folder / "unet" / "weights.safetensors").unlink()
    open_cached(checkpoint("tiny-vae"))
    assert exports.read_text() == "xx"


def test_an_export_killed_on_its_way_leaves_nothing_that_is_opened(root, exports, checkpoint):
    source = str(checkpoint("tiny-vae"))
    code = f"from underpaint_engines import onnxruntime; onnxruntime.load({source!r}, name='tiny')"
    with subprocess.Popen([sys.executable, "-c", code]) as process:  # noqa: S603
        while not list(root.glob(".*/*/weights.safetensors")):
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(list(root.glob(".*"))) == 1
    assert cache.entries() == []
    folder = open_cached(source)  # no lock is left behind either
    assert cache.entries(check=True)[0].path == folder
    assert exports.read_text() == "x"


def test_what_an_interrupted_export_left_is_not_opened_and_goes_in_time(root, exports, checkpoint):
    left = root / ".entry.0123"
    left.mkdir(parents=True)
    (left / MANIFEST).write_text("{}")
    open_cached(checkpoint("tiny-vae"))
    assert left.is_dir()
    assert len(cache.entries()) == 1
    long_ago = time.time() - 2 * cache.STALE_SECONDS
    os.utime(left, (long_ago, long_ago))
    assert cache.prune() == [left]
    assert not left.exists()


def test_the_longest_unused_go_first(root, exports, checkpoint, tmp_path, monkeypatch):
    sources = [checkpoint("tiny-vae")] + [
        save_tiny_checkpoint(tmp_path / f"m{k}", "tiny-vae", seed=k) for k in (1, 2)
    ]
    folders = [open_cached(source) for source in sources]
    for age, folder in zip((300, 100, 200), folders, strict=True):
        os.utime(folder, (time.time() - age,) * 2)
    size = cache.entries()[0].size
    monkeypatch.setenv(cache.LIMIT_VARIABLE, str(2.5 * size / 1e9))
    assert cache.prune() == [folders[0]]
    monkeypatch.setenv(cache.LIMIT_VARIABLE, str(1.5 * size / 1e9))
    assert cache.prune(keep=[folders[2]]) == [folders[1]]
    assert [entry.path for entry in cache.entries()] == [folders[2]]
    assert cache.prune(everything=True) == [folders[2]]


def test_kept_inversions_are_entries_as_well(root):
    kept = root.parent / "trajectories" / "0123.safetensors"
    path = Trajectory((999, -1), torch.zeros(2, 1, 4, 8, 8), ("a cat",), "ddim-inversion")
    path.save(kept)
    [entry] = cache.entries(check=True)
    assert (entry.path, entry.model, entry.problem) == (kept, "ddim-inversion", None)
    kept.write_bytes(kept.read_bytes()[:-1])
    [entry] = cache.entries(check=True)
    assert "no trajectory that can be read" in entry.problem
    assert cache.prune() == [kept]
    assert not kept.exists()


def test_a_limit_that_is_no_number_is_refused(root, monkeypatch):
    monkeypatch.setenv(cache.LIMIT_VARIABLE, "much")
    with pytest.raises(InvalidRequestError, match="much"):
        cache.prune()


def test_an_engine_opens_what_is_cached(root, exports, checkpoint):
    engine = onnxruntime.load(checkpoint("tiny-vae"), name="tiny")
    assert engine.info.name == "tiny"
    assert len(list(Path(root).glob("*.lock"))) == 1
