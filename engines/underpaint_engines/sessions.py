"""The graphs of a bundle that are open, each for a use of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from underpaint.errors import NotOfferedError

from underpaint_engines.bundle import Graph, Manifest
from underpaint_engines.derivative import derivative
from underpaint_engines.runtime import Runtime, Session

Names = frozenset[str]


@dataclass(eq=False)
class Sessions:
    """The graphs opened so far; opening one waits, using one does not."""

    folder: Path
    manifest: Manifest
    runtime: Runtime
    _open: dict[str, dict[Names, Session]] = field(default_factory=dict)
    _gradients: dict[tuple[str, str, Names], Session] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def find(self, graph: str, outputs: Names) -> Session | None:
        """Return the open session with the fewest outputs that has these, if any."""
        fitting = {o: s for o, s in self._open.get(graph, {}).items() if outputs <= o}
        return fitting[min(fitting, key=len)] if fitting else None

    def get(self, graph: str, outputs: Names) -> Session:
        """Return a session that has these outputs or more, opening one if there is none.

        Raises
        ------
        NotOfferedError
            If the bundle has no such graph.
        """
        found = self.find(graph, outputs)
        if found is not None:
            return found
        record = self.record(graph)
        with self._lock:
            found = self.find(graph, outputs)
            if found is None:
                found = self._compile(record, outputs)
                self._open[graph] = {**self._open.get(graph, {}), outputs: found}
            return found

    def gradient(self, graph: str, point: str, pulled: Names) -> Session:
        """Return a session of the gradient by `point`, given cotangents of the outputs `pulled`.

        Raises
        ------
        NotOfferedError
            If the bundle has no such graph, or that has no derivative.
        """
        key = (graph, point, pulled)
        with self._lock:
            if key not in self._gradients:
                record = derivative(self.record(graph), point, pulled)
                self._gradients[key] = self._compile(record, {port.name for port in record.outputs})
            return self._gradients[key]

    def record(self, graph: str) -> Graph:
        """Return what the manifest says of a graph.

        Raises
        ------
        NotOfferedError
            If the bundle has none of that name.
        """
        if graph not in self.manifest.graphs:
            raise NotOfferedError(
                f"The bundle {self.folder} has no graph {graph}; it has "
                f"{', '.join(self.manifest.graphs)}. Export it with the sizes you need: "
                "underpaint export MODEL --size 256,512."
            )
        return self.manifest.graphs[graph]

    def _compile(self, record: Graph, outputs: Names | set[str]) -> Session:
        ordered = [port.name for port in record.outputs if port.name in outputs]
        return self.runtime.open(self.folder, record, ordered)
