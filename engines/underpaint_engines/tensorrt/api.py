"""TensorRT and TensorRT-RTX through one record: the same classes in two modules."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

_talk = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Api:
    """One of the two.

    Attributes
    ----------
    name : of the engine, e.g. ``tensorrt-rtx``.
    title : what it is called, e.g. ``TensorRT-RTX``.
    trt : its Python module.
    jit : whether kernels are compiled when an engine runs (TensorRT-RTX), not chosen by trying
        them out when it is built.
    log : what it says; the library keeps the first log of a process for ever, so there is one.
    building : held while an engine is built, so that what is said is about that engine.
    """

    name: str
    title: str
    trt: Any
    jit: bool
    log: Any = field(init=False)
    building: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        object.__setattr__(self, "log", _make_log(self.trt))

    @property
    def version(self) -> str:
        """The library's version."""
        return str(self.trt.__version__)


def _make_log(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]  # (the module is known when the program runs)
        """Keeps the latest errors; a failed call of the library returns nothing else."""

        def __init__(self) -> None:
            super().__init__()
            self._errors: deque[str] = deque(maxlen=8)

        def log(self, severity: Any, message: str) -> None:
            """Take what the library says."""
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self._errors.append(message.strip())
            else:
                _talk.debug("%s", message)

        def take(self) -> str:
            """Return the errors since the last time, and forget them."""
            errors = list(self._errors)
            self._errors.clear()
            return "; ".join(errors) or "it gave no reason"

    return Log()
