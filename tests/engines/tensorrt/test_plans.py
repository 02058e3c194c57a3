"""The plans in the cache: made once, opened only as they were written, and under which key."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import tensorrt_rtx_bindings
import torch
from safetensors.torch import save_file
from underpaint.cache_folder import FOLDER_VARIABLE
from underpaint.errors import ModelLoadError
from underpaint_engines import cache, plans
from underpaint_engines.plans import Plans
from underpaint_engines.tensorrt import rtx
from underpaint_engines.tensorrt.api import Api
from underpaint_engines.tensorrt.keys import plan_key

from tests.engines.tensorrt.doubles import MACHINE

PLAN = {"what": "a graph", "dtype": "fp16"}


@pytest.fixture
def store(tmp_path):
    return Plans(tmp_path / "plans")


@pytest.fixture
def make():
    """Return a maker of plans that counts."""

    def make():
        make.calls += 1
        return b"plan\n\x00" * 100

    make.calls = 0
    return make


def test_a_plan_is_made_once(store, make):
    assert [store.get({"a": 1}, make, **PLAN) for _ in range(3)] == [make()] * 3
    assert make.calls == 1 + 1


def test_another_key_is_another_plan(store, make):
    for key in ({"a": 1}, {"a": 2}, {"b": 1}):
        store.get(key, make, **PLAN)
    assert make.calls == 3
    assert store.file({"a": 1, "b": 2}) == store.file({"b": 2, "a": 1})


@pytest.mark.parametrize("place", [0, 5, 100, -1])
def test_a_flipped_byte_is_another_build(store, make, place):
    whole = store.get({}, make, **PLAN)
    content = bytearray(store.file({}).read_bytes())
    content[place] ^= 0xFF
    store.file({}).write_bytes(bytes(content))
    assert plans.read(store.file({})) is None
    assert store.get({}, make, **PLAN) == whole
    assert plans.read(store.file({})) == whole
    assert make.calls == 2


@pytest.mark.parametrize("content", [b"", b"an engine of somebody's", b"{}\nplan"])
def test_a_foreign_file_is_not_opened(store, make, content):
    store.folder.mkdir()
    store.file({}).write_bytes(content)
    assert store.get({}, make, **PLAN).startswith(b"plan")
    assert make.calls == 1


def test_a_build_that_fails_leaves_nothing(store):
    def fail():
        raise ModelLoadError("no")

    with pytest.raises(ModelLoadError):
        store.get({}, fail, **PLAN)
    assert [file.suffix for file in store.folder.iterdir()] == [".lock"]


def test_threads_that_ask_at_once_make_one(store, make):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: store.get({}, make, **PLAN), range(8)))
    assert len(set(found)) == 1
    assert make.calls == 1


def test_the_cache_lists_plans_and_removes_them(make, tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    store = cache.cached_plans()
    store.get({"a": 1}, make, **PLAN)
    store.get({"a": 2}, make, **PLAN)
    broken = store.file({"a": 2})
    broken.write_bytes(broken.read_bytes()[:-1])
    found = {entry.path: entry for entry in cache.entries(check=True)}
    assert found[broken].problem
    whole = found[store.file({"a": 1})]
    assert (whole.model, whole.dtype, whole.problem) == ("a graph", "fp16", None)
    assert all(entry.problem is None for entry in cache.entries())
    broken.write_bytes(b"")
    assert cache.prune() == [broken]
    assert cache.prune(everything=True) == [whole.path]
    assert cache.entries() == []


def test_a_key_holds_all_that_matters(write_graph, tmp_path):
    graph = write_graph()

    def key(graph=graph, outputs=("y",), api=rtx.API, **machine):
        return plan_key(api, tmp_path, graph, outputs, {**MACHINE, **machine})

    first = key()
    assert key() == first
    other = Api("tensorrt", "TensorRT", tensorrt_rtx_bindings, jit=False)
    different = [
        key(graph=graph.model_copy(update={"max_rows": 8})),
        key(graph=graph.model_copy(update={"dtype": "bf16"})),
        key(api=other),
        key(gpu="another"),
        key(sm=[12, 0]),
        key(driver="2"),
        key(system=["Windows", "AMD64"]),
    ]
    save_file({"w": torch.zeros(1)}, tmp_path / "weights.safetensors")
    different.append(key())
    write_graph("Abs")
    different.append(key())
    files = {Plans(tmp_path).file(each) for each in (first, *different)}
    assert len(files) == 1 + len(different)
