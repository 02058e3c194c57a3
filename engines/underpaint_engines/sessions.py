"""The graphs of a bundle that are open, each for a use of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from underpaint.errors import NotOfferedError

from underpaint_engines.bundle import Manifest
from underpaint_engines.runtime import Runtime, Session

Names = frozenset[str]


@dataclass(eq=False)
class Sessions:
    """The graphs opened so far; opening one waits, using one does not.

    A session with more outputs, or with fewer inputs that have to be zero, serves a call as well.
    """

    folder: Path
    manifest: Manifest
    runtime: Runtime
    _open: dict[str, dict[tuple[Names, Names], Session]] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def find(self, graph: str, outputs: Names, zeros: Names = frozenset()) -> Session | None:
        """Return the open session that does least of those that serve, if any."""
        fitting = [
            key for key in self._open.get(graph, {}) if outputs <= key[0] and key[1] <= zeros
        ]
        if not fitting:
            return None
        return self._open[graph][min(fitting, key=lambda key: len(key[0]) - len(key[1]))]

    def get(self, graph: str, outputs: Names, zeros: Names = frozenset()) -> Session:
        """Return a session that has these outputs, opening one if there is none.

        `zeros` are inputs that are zero in the call.

        Raises
        ------
        NotOfferedError
            If the bundle has no such graph.
        """
        found = self.find(graph, outputs, zeros)
        if found is not None:
            return found
        if graph not in self.manifest.graphs:
            raise NotOfferedError(
                f"The bundle {self.folder} has no graph {graph}; it has "
                f"{', '.join(self.manifest.graphs)}. Export it with the sizes you need: "
                "underpaint export MODEL --size 256,512."
            )
        with self._lock:
            return self.find(graph, outputs, zeros) or self._compile(graph, outputs, zeros)

    def _compile(self, graph: str, outputs: Names, zeros: Names) -> Session:
        record = self.manifest.graphs[graph]
        ordered = [port.name for port in record.outputs if port.name in outputs]
        session = self.runtime.open(self.folder, record, ordered, zeros)
        self._open[graph] = {**self._open.get(graph, {}), (outputs, zeros): session}
        return session
