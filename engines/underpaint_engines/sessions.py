"""The graphs of a bundle that are open, each for a use of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from underpaint.errors import NotOfferedError

from underpaint_engines.bundle import Graph, Manifest, Port
from underpaint_engines.derivative import derivative
from underpaint_engines.pruning import residual_ports
from underpaint_engines.runtime import Runtime, Session

Names = frozenset[str]


@dataclass(frozen=True, eq=False)
class Linear:
    """A graph that also gives what its gradient is made from.

    Attributes
    ----------
    record : the graph, as in the manifest.
    point : the input that the gradient is by.
    residuals : the values to keep for it.
    session : has some outputs and the residuals.
    """

    record: Graph
    point: str
    residuals: tuple[Port, ...]
    session: Session


@dataclass(eq=False)
class Sessions:
    """The graphs opened so far; opening one waits, using one does not."""

    folder: Path
    manifest: Manifest
    runtime: Runtime
    _open: dict[str, dict[Names, Session]] = field(default_factory=dict)
    _linear: dict[tuple[str, str, Names], Linear] = field(default_factory=dict)
    _gradients: dict[tuple[Linear, Names], Session] = field(default_factory=dict)
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

    def linear(self, graph: str, point: str, outputs: Names) -> Linear:
        """Return a graph with these outputs, any of which may be pulled back to `point`.

        Raises
        ------
        NotOfferedError
            If the bundle has no such graph, or that has no derivative.
        """
        key = (graph, point, outputs)
        record = self.record(graph)
        with self._lock:
            if key not in self._linear:
                kept = residual_ports(self.folder, derivative(record, point, outputs))
                ports = {port.name: port for port in (*record.outputs, *kept)}
                whole = record.model_copy(update={"outputs": tuple(ports.values())})
                session = self._compile(whole, outputs | {port.name for port in kept})
                self._linear[key] = Linear(record, point, kept, session)
            return self._linear[key]

    def gradient(self, linear: Linear, pulled: Names) -> Session:
        """Return a session of the gradient, given residuals and cotangents of `pulled`.

        Raises
        ------
        NotOfferedError
            If none of them depends on the point.
        """
        key = (linear, pulled)
        with self._lock:
            if key not in self._gradients:
                record = derivative(linear.record, linear.point, pulled, linear.residuals)
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
