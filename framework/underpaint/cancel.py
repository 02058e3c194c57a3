"""Cancelling a call from another thread."""

from __future__ import annotations

import threading

from underpaint.errors import CancelledError


class CancelToken:
    """Pass one to a call and `cancel` it from any thread; the call stops before its next step."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the call to stop."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether the call was asked to stop."""
        return self._event.is_set()

    def check(self, step: int, steps: int) -> None:
        """Raise CancelledError if the call was asked to stop."""
        if self._event.is_set():
            raise CancelledError(f"Cancelled before step {step + 1} of {steps}.")
