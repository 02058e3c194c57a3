"""TensorRT without a GPU: what is built, kept and refused, and sessions on a context of our own."""

from __future__ import annotations

import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import onnx
import pytest
import tensorrt_rtx_bindings
import torch
from safetensors.torch import save_file
from underpaint import registry
from underpaint.cache_folder import FOLDER_VARIABLE
from underpaint.errors import ModelLoadError, PluginError, UnderpaintError
from underpaint_engines import cache, plans
from underpaint_engines.bundle import Graph
from underpaint_engines.plans import Plans
from underpaint_engines.tensorrt import device, rtx, runtime
from underpaint_engines.tensorrt.api import Api
from underpaint_engines.tensorrt.builder import build, profile_rows
from underpaint_engines.tensorrt.keys import plan_key
from underpaint_engines.tensorrt.runtime import TensorRt
from underpaint_engines.tensorrt.session import TensorRtSession

MACHINE = {"gpu": "none", "sm": [8, 9], "driver": "1", "system": ["Linux", "x86_64"]}
PLAN = {"what": "a graph", "dtype": "fp16"}


@pytest.fixture
def write_graph(tmp_path):
    """Write a graph of one operator, y = op(x), and return its record."""

    def write(operator="Relu"):
        ports = [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["rows", 4])
            for name in ("x", "y")
        ]
        node = onnx.helper.make_node(operator, ["x"], ["y"], name="the_node")
        graph = onnx.helper.make_graph([node], "graph", ports[:1], ports[1:])
        opset = onnx.helper.make_opsetid("", 23)
        onnx.save(
            onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10),
            tmp_path / "graph.onnx",
        )
        save_file({"w": torch.ones(1)}, tmp_path / "weights.safetensors")
        return record("x", "y")

    return write


def record(*names, max_rows=16):
    first, *others = ({"name": name, "dtype": "float32", "shape": ("rows", 4)} for name in names)
    content = {"file": "graph.onnx", "dtype": "fp16", "inputs": [first], "outputs": others}
    return Graph.model_validate({**content, "max_rows": max_rows})


# Building


def test_a_graph_is_built_for_a_gpu_that_is_not_there(write_graph, tmp_path):
    plan = build(rtx.API, tmp_path, write_graph(), ["y"], capability="SM89")
    assert len(plan) > 1000


def test_an_operator_that_tensorrt_lacks_is_named(write_graph, tmp_path):
    with pytest.raises(ModelLoadError, match=r"TensorRT-RTX .* graph\.onnx: .*Det 'the_node'"):
        build(rtx.API, tmp_path, write_graph("Det"), ["y"], capability="SM89")


def test_what_cannot_be_built_says_why(write_graph, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU to build for")
    with pytest.raises(ModelLoadError, match=r"cannot build graph\.onnx for this GPU: .*CUDA"):
        build(rtx.API, tmp_path, write_graph(), ["y"])


@pytest.mark.filterwarnings("ignore:.*no-ops in TensorRT-RTX:DeprecationWarning")
def test_timings_are_kept_and_taken_up_again(write_graph, tmp_path):
    file = tmp_path / "timings.plan"
    for _ in range(2):
        build(rtx.API, tmp_path, write_graph(), ["y"], capability="SM89", timings=file)
        assert plans.read(file)


def test_a_profile_spans_the_rows_of_a_graph():
    assert profile_rows(record("x", "y")) == (1, 4, 16)
    assert profile_rows(record("x", "y", max_rows=2)) == (1, 2, 2)
    assert profile_rows(record("x", "y", max_rows=1)) == (1, 1, 1)


# The plans in the cache


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


# Sessions, on a context that doubles


class Context:
    """An execution context with y = 2 x, which reads and writes the addresses it is told."""

    def __init__(self, works=True):
        self.names, self.works = ["x", "y"], works
        self.engine = SimpleNamespace(num_io_tensors=2, get_tensor_name=self.names.__getitem__)
        self.shapes, self.addresses, self.launches, self.bindings = {}, {}, 0, 0

    def set_input_shape(self, name, shape):
        self.shapes = dict.fromkeys(self.names, shape)
        return shape[0] <= 16

    def get_tensor_shape(self, name):
        return list(self.shapes[name])

    def set_tensor_address(self, name, address):
        self.bindings += 1
        self.addresses[name] = address
        return True

    def execute_async_v3(self, handle):
        assert handle == Stream.handle
        self.launches += 1
        count = self.shapes["x"][0] * self.shapes["x"][1]
        x, y = ((ctypes.c_float * count).from_address(self.addresses[n]) for n in self.names)
        y[:] = [2 * value for value in x]
        return self.works


class Stream:
    """A stream whose work is done at once."""

    handle = 7
    device = torch.device("cpu")

    def __init__(self):
        self.captures = self.replays = self.running = 0

    @contextmanager
    def turn(self):
        self.running += 1
        assert self.running == 1  # a context serves one call at a time
        yield
        self.running -= 1

    def capture(self, launch):
        self.captures += 1

        def replay():
            self.replays += 1
            launch()

        return replay


class Silent:
    """What a TensorRT's module needs to have for the record of it."""

    __version__ = "1.0"

    class ILogger:
        ERROR, INTERNAL_ERROR = 1, 0


@pytest.fixture
def api():
    return Api("tensorrt", "TensorRT", Silent, jit=False)


@pytest.fixture
def session(api):
    return TensorRtSession(api, Context(), record("x", "y"), ["y"], Stream())


def run(session, rows, value=1.0):
    given = torch.full((rows, 4), value)
    (out,) = session({"x": given, "what no graph has": given}).values()
    assert torch.equal(out, 2 * given)
    return out


def test_outputs_belong_to_the_caller(session):
    first = run(session, 2, 3.0)
    run(session, 2, 5.0)
    assert first.eq(6).all()


def test_inputs_of_other_types_are_converted(session):
    out = session({"x": torch.ones(2, 4, dtype=torch.float64)})["y"]
    assert (out.dtype, out.sum().item()) == (torch.float32, 16)


def test_a_shape_is_captured_once_it_has_run(session):
    stream, context = session._stream, session._context
    for value in range(4):
        run(session, 2, float(value))
    assert (stream.captures, stream.replays, context.launches) == (1, 3, 4)
    assert context.bindings == 2


def test_another_shape_drops_what_was_captured(session):
    stream, context = session._stream, session._context
    for _ in range(2):
        run(session, 2)
    addresses = dict(context.addresses)
    run(session, 3)
    assert (stream.captures, context.shapes["x"]) == (1, (3, 4))
    assert context.addresses != addresses
    run(session, 2)
    assert (stream.captures, stream.replays, context.addresses) == (1, 1, addresses)
    run(session, 2)
    assert (stream.captures, stream.replays) == (2, 2)


def test_tensorrt_rtx_captures_by_itself():
    api = Api("tensorrt-rtx", "TensorRT-RTX", Silent, jit=True)
    session = TensorRtSession(api, Context(), record("x", "y"), ["y"], Stream())
    for _ in range(3):
        run(session, 2)
    assert (session._stream.captures, session._context.launches) == (0, 3)


def test_calls_of_many_threads_come_one_after_another(session):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: run(session, 1 + k % 3, float(k)), range(64)))


def test_a_refusal_carries_what_tensorrt_says(api):
    session = TensorRtSession(api, Context(), record("x", "y"), ["y"], Stream())
    api.log.log(Silent.ILogger.ERROR, "too many rows")
    with pytest.raises(UnderpaintError, match=r"TensorRT 1\.0 refuses x \(17, 4\): too many rows"):
        run(session, 17)
    run(session, 2)
    session._context.works = False
    with pytest.raises(UnderpaintError, match=r"refuses to run: it gave no reason"):
        run(session, 2)


# The runtime, with a library that does nothing


class Library(Silent):
    """A TensorRT of which only the order of calls is real."""

    CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="whole")

    class Runtime:
        def __init__(self, log):
            self.engine_host_code_allowed = True

        def deserialize_cuda_engine(self, plan):
            assert self.engine_host_code_allowed is False
            return Library.Engine() if plan == b"plan" else None

    class Engine:
        def create_runtime_config(self):
            return Library.Settings()

        def create_execution_context(self, settings=None):
            context = Context()
            context.settings = settings
            return context

    class Settings:
        def create_runtime_cache(self):
            return Library.Kernels()

        def set_runtime_cache(self, kernels):
            self.kernels = kernels

    class Kernels:
        known = None

        def deserialize(self, content):
            self.known = content

        def serialize(self):
            return b"kernels"


@pytest.fixture
def on_a_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(runtime, "describe_device", lambda device: MACHINE)
    monkeypatch.setattr(runtime, "CudaStream", lambda device: Stream())
    built = []

    def build(api, folder, graph, outputs, *, timings):
        built.append(timings)
        return b"plan" if graph.max_rows > 1 else b"broken"

    monkeypatch.setattr(runtime, "build", build)
    return built


def test_a_plan_is_built_once_and_opened_again(on_a_gpu, api, write_graph, tmp_path):
    api = Api("tensorrt", "TensorRT", Library, jit=False)
    for _ in range(2):
        engine = TensorRt(api, torch.device("cuda"), torch.float16)
        run(engine.open(tmp_path, write_graph(), ["y"]), 2)
    assert (engine.device, engine.opset) == (torch.device("cuda:0"), 23)
    (timings,) = on_a_gpu
    assert timings.parent == cache.cached_plans().folder


def test_compiled_kernels_are_kept_when_a_session_ends(on_a_gpu, write_graph, tmp_path):
    api = Api("tensorrt-rtx", "TensorRT-RTX", Library, jit=True)
    engine = TensorRt(api, torch.device("cuda:1"), torch.bfloat16)
    session = engine.open(tmp_path, write_graph(), ["y"])
    settings = session._context.settings
    assert (settings.cuda_graph_strategy, settings.kernels.known) == ("whole", None)
    del session
    session = engine.open(tmp_path, write_graph(), ["y"])
    assert session._context.settings.kernels.known == b"kernels"
    assert on_a_gpu == [None]


def test_a_plan_that_cannot_be_opened_says_what_to_do(on_a_gpu, write_graph, tmp_path):
    api = Api("tensorrt", "TensorRT", Library, jit=False)
    engine = TensorRt(api, torch.device("cuda"), torch.float32)
    graph = write_graph().model_copy(update={"max_rows": 1})
    with pytest.raises(ModelLoadError, match="underpaint cache prune"):
        engine.open(tmp_path, graph, ["y"])


# What is missing


def test_a_driver_without_its_library_is_named(monkeypatch):
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda _: SimpleNamespace(name="a GPU", major=8, minor=9),
    )
    monkeypatch.setattr(device, "NVML", "libnothing.so")
    with pytest.raises(ModelLoadError, match=r"libnothing\.so"):
        device.describe_device(torch.device("cuda"))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_without_a_gpu_it_names_engines_that_run_here(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelLoadError, match=r"tensorrt-rtx .*GPU.* engine='onnxruntime'"):
        rtx.load("owner/name", name="tiny", device=device)


@pytest.mark.parametrize(
    ("name", "package", "module"),
    [("tensorrt", "tensorrt", "standard"), ("tensorrt-rtx", "tensorrt_rtx_bindings", "rtx")],
)
def test_an_absent_package_is_named_with_what_brings_it(monkeypatch, name, package, module):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"underpaint_engines.tensorrt.{module}", raising=False)
    with pytest.raises(PluginError, match=rf"pip install 'underpaint\[{name}\]'"):
        registry.load("engines", name)


def test_it_is_installed():
    assert registry.load("engines", "tensorrt-rtx") is rtx.load
