"""Reverse-mode differentiation of a graph: the vector-Jacobian product as nodes of the same graph.

The nodes are gone through backwards, each handing the gradient of its outputs on to its inputs by
the rule of its operator. Only what lies between an input that is asked for and an output with a
cotangent is touched; layers that no cotangent reaches are gone from the result, on the way there as
well as back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from underpaint.errors import NotOfferedError

from underpaint_engines.derivative import cotangent_name, gradient_name
from underpaint_engines.vjp import elementwise, norms, products, shapes
from underpaint_engines.vjp.rule import Node, Rule
from underpaint_engines.vjp.writer import Writer

RULES: Mapping[str, Rule] = {
    "Add": elementwise.add,
    "Attention": products.attention,
    "Cast": elementwise.cast,
    "Concat": shapes.concat,
    "Conv": products.conv,
    "Gather": shapes.gather,
    "Gelu": elementwise.gelu,
    "Gemm": products.gemm,
    "GroupNormalization": norms.group_norm,
    "Identity": elementwise.identity,
    "LayerNormalization": norms.layer_norm,
    "MatMul": products.matmul,
    "Mul": elementwise.mul,
    "ReduceMean": shapes.reduce_mean,
    "Reshape": shapes.reshape,
    "Resize": shapes.resize,
    "Sigmoid": elementwise.sigmoid,
    "Softmax": elementwise.softmax,
    "Split": shapes.split,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.reshape,
    "Where": elementwise.where,
}


def gradient_graph(
    model: ir.Model, point: str, pulled: Collection[str], residuals: Collection[str] = ()
) -> None:
    """Turn a model into the gradient by one of its inputs.

    It then takes the inputs that the gradient depends on and, for each output in `pulled`, a
    cotangent of the same shape (`cotangent_name`). It has one output (`gradient_name`), of the
    shape of the input `point`. Values of the model in `residuals` are inputs as well, under their
    names; what is not given is computed again.

    Raises
    ------
    NotOfferedError
        If there is no rule for an operator on the way, or no pulled output depends on `point`.
    """
    graph = model.graph
    leaf = next(value for value in graph.inputs if value.name == point)
    nodes = list(graph)
    cotangents = {value: _cotangent(value) for value in graph.outputs if value.name in pulled}
    found = _pull_back(Writer(graph), nodes, leaf, cotangents)
    if found is None:
        raise NotOfferedError(f"None of {', '.join(sorted(pulled))} depends on {point}.")
    graph.inputs.extend(cotangents.values())
    graph.outputs[:] = [_output(Writer(graph), found, leaf)]
    for value in [each for node in nodes for each in node.outputs if each.name in residuals]:
        given = ir.Value(name=value.name, shape=value.shape, type=value.type)
        value.replace_all_uses_with(given)
        graph.inputs.append(given)
    RemoveUnusedNodesPass()(model)
    for value in [each for each in graph.inputs if not each.uses()]:
        graph.inputs.remove(value)


def _pull_back(
    write: Writer,
    nodes: list[ir.Node],
    leaf: ir.Value,
    cotangents: Mapping[ir.Value, ir.Value],
) -> ir.Value | None:
    """Return the gradient of a value from those of others; None if none of them depends on it."""
    moving = _depending(nodes, leaf)
    gradients = dict(cotangents)
    for node in reversed(nodes):
        given = [gradients.get(value) for value in node.outputs]
        wanted = frozenset(k for k, value in enumerate(node.inputs) if value in moving)
        if not wanted or not any(gradient is not None for gradient in given):
            continue
        step = Node(node, given, wanted)
        for index, gradient in enumerate(_rule(step)(write, step)):
            value = node.inputs[index]
            if gradient is None or value is None or index not in wanted:
                continue
            known = gradients.get(value)
            gradients[value] = gradient if known is None else write("Add", known, gradient)
    return gradients.get(leaf)


def _rule(node: Node) -> Rule:
    kind = node.forward.op_type
    if kind not in RULES or node.forward.domain:
        raise node.refused("any attributes")
    return RULES[kind]


def _depending(nodes: Iterable[ir.Node], leaf: ir.Value) -> set[ir.Value | None]:
    """Return the values that depend on `leaf`, itself among them."""
    found: set[ir.Value | None] = {leaf}
    for node in nodes:
        if any(value in found for value in node.inputs):
            found.update(node.outputs)
    return found


def _cotangent(value: ir.Value) -> ir.Value:
    return ir.Value(name=cotangent_name(value.name or ""), shape=value.shape, type=value.type)


def _output(write: Writer, gradient: ir.Value, leaf: ir.Value) -> ir.Value:
    """Return a value under the output's name; the gradient may be a cotangent as it was given."""
    named = write("Identity", gradient)
    named.name = gradient_name(leaf.name or "")
    named.shape, named.type = leaf.shape, leaf.type
    return named
