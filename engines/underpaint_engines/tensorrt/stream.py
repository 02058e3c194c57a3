"""A CUDA stream of one's own, in step with those of its callers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

import torch


class Stream(Protocol):
    """Where a session's work is queued."""

    @property
    def device(self) -> torch.device:
        """The device that works."""

    @property
    def handle(self) -> int:
        """The stream's address."""

    def turn(self) -> AbstractContextManager[None]:
        """Queue what happens inside after the caller's work so far and before what it does next."""

    def capture(self, launch: Callable[[], None]) -> Callable[[], None]:
        """Return what replays the work that `launch` queues; capturing runs none of it."""


class CudaStream:
    """A stream of its own: the default one would make TensorRT wait for the whole device.

    Nobody waits for anything on the host.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @property
    def handle(self) -> int:
        """The stream's address."""
        address: int = self._stream.cuda_stream
        return address

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Queue what happens inside after the caller's work so far and before what it does next.

        So the memory of what the caller lends and is given may be used again once it is freed.
        """
        caller = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(caller)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            caller.wait_stream(self._stream)

    def capture(self, launch: Callable[[], None]) -> Callable[[], None]:
        """Return what replays the work that `launch` queues; capturing runs none of it."""
        graph = torch.cuda.CUDAGraph()
        # Other threads may use the device meanwhile: their calls are not to break the capture.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            launch()
        return graph.replay
