"""The gradient of a bundle's graph by one of its inputs, as a graph that is made when it is opened.

It is in no file: `underpaint_engines.vjp` makes it of the graph that is.
"""

from __future__ import annotations

from underpaint_engines.bundle import Graph, Port


class Derivative(Graph):
    """The record of such a graph.

    Attributes
    ----------
    point : the input that the gradient is by.
    pulled : the outputs that have a cotangent.
    residuals : the values within the graph that are given; the others are computed again.
    """

    point: str
    pulled: tuple[str, ...]
    residuals: tuple[str, ...]


def derivative(
    graph: Graph, point: str, pulled: frozenset[str], residuals: tuple[Port, ...] = ()
) -> Derivative:
    """Return the record of the gradient of a graph by the input `point`.

    It takes the graph's own inputs, the `residuals` and a cotangent, shaped like it, for each
    output in `pulled`.
    """
    ports = [port for port in graph.outputs if port.name in pulled]
    cotangents = [port.model_copy(update={"name": cotangent_name(port.name)}) for port in ports]
    leaf = next(port for port in graph.inputs if port.name == point)
    return Derivative(
        file=graph.file,
        dtype=graph.dtype,
        inputs=(*graph.inputs, *residuals, *cotangents),
        outputs=(leaf.model_copy(update={"name": gradient_name(point)}),),
        max_rows=graph.max_rows,
        point=point,
        pulled=tuple(port.name for port in ports),
        residuals=tuple(port.name for port in residuals),
    )


def cotangent_name(output: str) -> str:
    """Return the input that holds the cotangent of an output."""
    return f"cotangent.{output}"


def gradient_name(point: str) -> str:
    """Return the output that holds the gradient by an input."""
    return f"gradient.{point}"
