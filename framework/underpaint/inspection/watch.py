"""What happens while a plugin is imported: files, sockets, processes, output, global state."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_FILES = frozenset({"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "os.link"})
_NETWORK = frozenset({"socket.connect", "socket.getaddrinfo", "socket.bind"})
_PROCESSES = frozenset({"subprocess.Popen", "os.system", "os.posix_spawn", "os.fork", "os.exec"})


@dataclass
class Effects:
    """What was done.

    Attributes
    ----------
    files, network, processes : what was touched, in order.
    printed : on stdout or stderr.
    state : which global state is another than before.
    modules : the top-level modules that were loaded.
    """

    files: list[str] = field(default_factory=list)
    network: list[str] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)
    printed: str = ""
    state: list[str] = field(default_factory=list)
    modules: frozenset[str] = frozenset()

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Keep an event of Python's audit if it is one of those."""
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING and path != os.devnull:
                self.files.append(f"opens {path} to write")
        elif event in _FILES:
            self.files.append(f"{event}({arguments[0]})")
        elif event in _NETWORK:
            self.network.append(f"{event}({', '.join(map(str, arguments[-1:]))})")
        elif event in _PROCESSES:
            self.processes.append(f"{event}({arguments[0]})")


_watching: list[Effects] = []


@contextmanager
def watched() -> Iterator[Effects]:
    """Watch what happens inside; the effects are complete when it is left.

    Python cannot take an audit hook back, so a process that watches has one for good.
    """
    effects = Effects()
    before, loaded, printed = _state(), set(sys.modules), io.StringIO()
    _install()
    _watching.append(effects)
    try:
        with redirect_stdout(printed), redirect_stderr(printed):
            yield effects
    finally:
        _watching.remove(effects)
        effects.printed = printed.getvalue()
        effects.state = [name for name, value in _state().items() if value != before[name]]
        fresh = set(sys.modules) - loaded
        effects.modules = frozenset(name.partition(".")[0] for name in fresh)


def _install() -> None:
    if not _installed:
        sys.addaudithook(_heard)
        _installed.append(True)


_installed: list[bool] = []


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    for effects in _watching:
        with contextlib.suppress(IndexError):
            effects.note(event, arguments)


def _state() -> dict[str, object]:
    import numpy
    import torch

    return {
        "torch's random state": torch.random.get_rng_state().numpy().tobytes(),
        "torch's threads": torch.get_num_threads(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's grad mode": torch.is_grad_enabled(),
        "torch's deterministic mode": torch.are_deterministic_algorithms_enabled(),
        "Python's random state": random.getstate(),
        "numpy's random state": numpy.random.get_state()[1].tobytes(),  # type: ignore[index]
        "the environment variables": dict(os.environ),
        "the working folder": Path.cwd(),
        "sys.path": list(sys.path),
        "the running threads": threading.active_count(),
        "the root logger": (logging.root.level, len(logging.root.handlers)),
    }
