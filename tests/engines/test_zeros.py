"""A graph without what is zero says what it says with zeros."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper
from underpaint_engines.zeros import drop_zeros

SHAPE = [2, 3]


def build(*nodes):
    """Return a graph of a and b that gives y, with shapes of all values known."""
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in "aby"]
    graph = helper.make_graph(
        [helper.make_node(*node) for node in nodes], "g", ports[:2], ports[2:]
    )
    opset = helper.make_opsetid("", 20)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    return onnx.shape_inference.infer_shapes(model)


def run(model, **inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(["y"], inputs)[0]


@pytest.mark.parametrize(
    ("nodes", "left"),
    [
        ([("Mul", ["a", "b"], ["m"]), ("Exp", ["b"], ["e"]), ("Add", ["m", "e"], ["s"]),
          ("Abs", ["s"], ["y"])], ["Exp", "Abs"]),
        ([("Neg", ["a"], ["m"]), ("Sub", ["b", "m"], ["s"]), ("Abs", ["s"], ["y"])], ["Abs"]),
        # What is taken from zero, and what zero is not neutral to, stays.
        ([("Sub", ["a", "b"], ["s"]), ("Abs", ["s"], ["y"])], ["Sub", "Abs"]),
        ([("Exp", ["a"], ["m"]), ("Mul", ["m", "b"], ["y"])], ["Exp", "Mul"]),
    ],
)  # fmt: skip
def test_zero_terms_go_and_nothing_else(nodes, left):
    whole = build(*nodes)
    zeros, value = np.zeros(SHAPE, np.float32), np.random.default_rng(0).normal(size=SHAPE)
    value = value.astype(np.float32)
    part = ir.from_proto(whole)
    drop_zeros(part, {"a"})
    assert [node.op_type for node in part.graph] == left
    names = {each.name for each in part.graph.inputs}
    given = {name: each for name, each in (("a", zeros), ("b", value)) if name in names}
    expected = run(whole, a=zeros, b=value)
    np.testing.assert_array_equal(run(ir.to_proto(part), **given), expected)
