"""One pipeline, many threads: cancellation within a step, and calls that do not mix."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from underpaint import CancelToken, Pipeline, hookimpl
from underpaint.errors import CancelledError
from underpaint.testing import EditSession, ToyEngine, greatest_difference


class BlockingEngine(ToyEngine):
    """Stops inside its `block_at`-th call until it is let go."""

    def __init__(self, block_at):
        super().__init__()
        self.block_at, self.calls = block_at, 0
        self.entered, self.go_on = threading.Event(), threading.Event()

    def predict(self, call):
        self.calls += 1
        if self.calls == self.block_at:
            self.entered.set()
            assert self.go_on.wait(30)
        return super().predict(call)


def test_a_call_is_cancelled_from_another_thread_within_the_step_it_is_in():
    engine, token = BlockingEngine(block_at=2), CancelToken()
    session = EditSession(Pipeline(engine))
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(session, num_inference_steps=50, cancel=token)
        assert engine.entered.wait(30)
        token.cancel()
        engine.go_on.set()
        with pytest.raises(CancelledError, match=r"before step 3 of 50"):
            future.result(30)
    assert engine.calls == 2
    assert token.cancelled
    assert greatest_difference(session().images, EditSession()().images) == 0


def test_eight_threads_on_one_pipeline_equal_serial_calls(make_method):
    class Drift:
        """Keeps state between steps: a shared instance would mix calls up."""

        def __init__(self):
            self.steps = 0

        @hookimpl(wrapper=True)
        def advance(self, step):
            latents = yield
            self.steps += 1
            return latents * (1 + 0.01 * self.steps)

    session, edit = EditSession(), make_method(Drift)
    calls = [{"num_inference_steps": 3 + i, "seed": i} for i in range(8)]
    serial = [session(edit, **call).images for call in calls]
    barrier = threading.Barrier(8)

    def run(call):
        barrier.wait(30)
        return [session(edit, **call).images for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        for expected, repeats in zip(serial, pool.map(run, calls), strict=True):
            for images in repeats:
                assert greatest_difference(expected, images) == 0
