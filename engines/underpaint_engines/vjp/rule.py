"""A rule of differentiation: from the gradient of a node's output to those of its inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_ir as ir
from underpaint.errors import NotOfferedError

from underpaint_engines.vjp.writer import Writer

Gradients = Sequence[ir.Value | None]
"""Of the inputs, in order; None, or nothing at the end, where there is none or it is not wanted."""


@dataclass(frozen=True, eq=False)
class Node:
    """A node on the way back.

    Attributes
    ----------
    forward : as it is in the graph.
    gradients : of its outputs; None where an output has none.
    wanted : which of its inputs a gradient is to be passed on to.
    """

    forward: ir.Node
    gradients: Gradients
    wanted: frozenset[int]

    @property
    def output(self) -> ir.Value:
        """The first output, of most nodes the only one."""
        return self.forward.outputs[0]

    @property
    def gradient(self) -> ir.Value:
        """The gradient of the first output."""
        found = self.gradients[0]
        assert found is not None  # noqa: S101  (a node without gradients is passed over)
        return found

    def input(self, index: int) -> ir.Value:
        """Return an input that the operator cannot be without."""
        found = self.forward.inputs[index]
        assert found is not None  # noqa: S101
        return found

    def wants(self, index: int) -> bool:
        """Tell whether the gradient of an input is wanted."""
        return index in self.wanted

    def require(self, **attributes: object) -> None:
        """Refuse a node with other attributes than these, where it has them.

        Raises
        ------
        NotOfferedError
            Naming the first.
        """
        for name, expected in attributes.items():
            found = self.forward.attributes.get(name)
            if found is not None and found.value != expected:
                raise self.refused(f"{name}={found.value}")

    def refused(self, reason: str) -> NotOfferedError:
        """Return the error for a node that has no gradient here."""
        return NotOfferedError(
            f"There is no compiled gradient of this model: {self.forward.op_type} "
            f"{self.forward.name!r} with {reason} is not differentiated. engine='pytorch' has one."
        )


Rule = Callable[[Writer, Node], Gradients]
