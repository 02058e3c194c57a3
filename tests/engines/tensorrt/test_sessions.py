"""Sessions, on a context that doubles."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from underpaint.errors import UnderpaintError
from underpaint_engines.tensorrt.api import Api
from underpaint_engines.tensorrt.session import TensorRtSession

from tests.engines.tensorrt.doubles import Context, Silent, Stream, record, run


@pytest.fixture
def session(api):
    return TensorRtSession(api, Context(), record("x", "y"), ["y"], Stream())


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
