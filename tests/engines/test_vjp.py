"""Every rule of differentiation against autograd, on a graph of one operator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from underpaint.errors import NotOfferedError
from underpaint_engines.vjp.differentiate import RULES, gradient_graph

ROWS = 3
"""The side that a graph leaves open, the first of what varies."""


@dataclass
class Case:
    """One operator: `shapes` of what varies by input, `weights`, and the same in PyTorch."""

    kind: str
    shapes: dict[str, tuple[int, ...]]
    same: Any
    attributes: dict[str, Any] = field(default_factory=dict)
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    points: str = "a"


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def conv(stride):
    return lambda a, w, b: F.conv2d(a, w, b, stride, padding=1)


def attend(a, b, c, bias=None):
    return F.scaled_dot_product_attention(a, b, c, bias, scale=0.3)


WINDOW = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "dilations": [1, 1], "group": 1}
NEAREST = {
    "mode": "nearest",
    "coordinate_transformation_mode": "asymmetric",
    "nearest_mode": "floor",
}
QKV = {"a": (ROWS, 2, 5, 4), "b": (ROWS, 2, 7, 4), "c": (ROWS, 2, 7, 4)}
KERNEL = {"w": normal(3, 4, 3, 3), "bias": normal(3)}
AFFINE = {"w": normal(4), "bias": normal(4) + 1}
INDEX = torch.tensor([1, 1, 0])
CHOICE = torch.tensor([True, False, True]).view(ROWS, 1)

CASES = [
    Case("Add", {"a": (ROWS, 4, 5), "b": (ROWS, 1, 5)}, torch.add, points="ab"),
    Case("Add", {"a": (ROWS, 4)}, torch.add, weights={"w": normal(4)}),
    Case("Attention", QKV, attend, {"scale": 0.3}, points="abc"),
    Case("Attention", {**QKV, "d": (ROWS, 1, 5, 7)}, attend, {"scale": 0.3}, points="abc"),
    Case("Cast", {"a": (ROWS, 4)}, lambda a: a.double(), {"to": ir.DataType.DOUBLE}),
    Case(
        "Concat",
        {"a": (ROWS, 2, 5), "b": (ROWS, 4, 5)},
        lambda a, b: torch.cat([a, b], 1),
        {"axis": 1},
        points="ab",
    ),
    Case("Conv", {"a": (ROWS, 4, 6, 5)}, conv(1), {**WINDOW, "strides": [1, 1]}, KERNEL),
    Case("Conv", {"a": (ROWS, 4, 6, 5)}, conv(2), {**WINDOW, "strides": [2, 2]}, KERNEL),
    Case(
        "Gather",
        {"a": (ROWS, 4, 5)},
        lambda a, index: a.index_select(0, index),
        {"axis": 0},
        {"index": INDEX},
    ),
    Case("Gelu", {"a": (ROWS, 4)}, F.gelu),
    Case("Gemm", {"a": (ROWS, 5)}, F.linear, {"transB": 1}, {"w": normal(6, 5), "b": normal(6)}),
    Case(
        "GroupNormalization",
        {"a": (ROWS, 4, 6, 5)},
        lambda a, w, b: F.group_norm(a, 2, w, b, 1e-3),
        {"num_groups": 2, "epsilon": 1e-3},
        AFFINE,
    ),
    Case("Identity", {"a": (ROWS, 4)}, lambda a: a.clone()),
    Case(
        "LayerNormalization",
        {"a": (ROWS, 5, 4)},
        lambda a, w, b: F.layer_norm(a, (4,), w, b, 1e-3),
        {"axis": -1, "epsilon": 1e-3},
        AFFINE,
    ),
    Case("MatMul", {"a": (ROWS, 4, 5), "b": (ROWS, 5, 6)}, torch.matmul, points="ab"),
    Case("MatMul", {"a": (ROWS, 4, 5)}, torch.matmul, weights={"w": normal(5, 6)}),
    Case("Mul", {"a": (ROWS, 4, 5), "b": (ROWS, 1, 5)}, torch.mul, points="ab"),
    Case("Mul", {"a": (ROWS, 1, 4)}, torch.mul, weights={"w": normal(5, 4)}),
    Case(
        "ReduceMean",
        {"a": (ROWS, 4, 5)},
        lambda a, _: a.mean(1, keepdim=True),
        {"keepdims": 1},
        {"axes": torch.tensor([1])},
    ),
    Case(
        "Reshape",
        {"a": (ROWS, 4, 5)},
        lambda a, _: a.reshape(ROWS, 20),
        weights={"shape": torch.tensor([-1, 20])},
    ),
    Case(
        "Resize",
        {"a": (ROWS, 4, 3, 2)},
        lambda a, *_: F.interpolate(a, scale_factor=2.0),
        NEAREST,
        {"region": torch.zeros(0), "factors": torch.tensor([1.0, 1, 2, 2])},
    ),
    Case("Sigmoid", {"a": (ROWS, 4)}, torch.sigmoid),
    Case("Softmax", {"a": (ROWS, 4, 5)}, lambda a: a.softmax(-1), {"axis": -1}),
    Case(
        "Transpose",
        {"a": (ROWS, 2, 4, 5)},
        lambda a: a.permute(0, 2, 3, 1),
        {"perm": [0, 2, 3, 1]},
    ),
    Case(
        "Unsqueeze",
        {"a": (ROWS, 4)},
        lambda a, _: a[:, :, None],
        weights={"axes": torch.tensor([2])},
    ),
    Case(
        "Where",
        {"a": (ROWS, 4), "b": (ROWS, 4)},
        torch.where,
        weights={"choice": CHOICE},
        points="ab",
    ),
]


def value(name, tensor):
    shape = ["rows", *tensor.shape[1:]]
    return ir.val(name, ir.DataType.from_numpy(tensor.numpy().dtype), shape)


def constant(name, tensor):
    return ir.val(name, const_value=ir.tensor(tensor.numpy(), name=name))


def graph_of(case, inputs, outputs):
    """Return a graph of the case's operator; its outputs are y0, y1, ..."""
    free = {name: value(name, tensor) for name, tensor in inputs.items()}
    weights = {name: constant(name, tensor) for name, tensor in case.weights.items()}
    ordered = [*weights.values(), *free.values()]
    if case.kind != "Where":
        ordered = [*free.values(), *weights.values()]
    results = [value(f"y{k}", each.contiguous()) for k, each in enumerate(outputs)]
    node = ir.node(case.kind, ordered, case.attributes, outputs=results)
    graph = ir.Graph(
        list(free.values()),
        results,
        nodes=[node],
        initializers=list(weights.values()),
        opset_imports={"": 23},
        name="one",
    )
    return ir.Model(graph, ir_version=10)


def run(model, inputs):
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    taken = {port.name: inputs[port.name].numpy() for port in session.get_inputs()}
    return torch.from_numpy(session.run(None, taken)[0])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.kind)
def test_a_rule_is_autograds(case):
    inputs = {name: normal(*shape).requires_grad_() for name, shape in case.shapes.items()}
    given = [*case.weights.values(), *inputs.values()]
    if case.kind != "Where":
        given = [*inputs.values(), *case.weights.values()]
    output = case.same(*given)
    plain = {name: tensor.detach() for name, tensor in inputs.items()}
    cotangent = normal(*output.shape).to(output.dtype)
    for point in case.points:
        (expected,) = torch.autograd.grad(output, inputs[point], cotangent, retain_graph=True)
        model = graph_of(case, plain, [output.detach()])
        gradient_graph(model, point, ["y0"])
        got = run(model, {**plain, "cotangent.y0": cotangent})
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
        assert got.abs().max() > 0


@pytest.mark.parametrize("pulled", [["y0"], ["y1"], ["y0", "y1"]])
def test_a_split_joins_what_has_a_gradient(pulled):
    whole = normal(ROWS, 4, 5)
    case = Case("Split", {}, None, {"axis": 1, "num_outputs": 2})
    cotangents = {f"y{k}": normal(ROWS, 2, 5) + k for k in range(2)}
    model = graph_of(case, {"a": whole}, list(whole.split(2, 1)))
    gradient_graph(model, "a", pulled)
    given = {f"cotangent.{name}": each for name, each in cotangents.items()}
    parts = [each * (name in pulled) for name, each in cotangents.items()]
    assert torch.equal(run(model, {"a": whole, **given}), torch.cat(parts, 1))


def test_no_rule_is_untested():
    assert {case.kind for case in CASES} | {"Split"} == set(RULES)


def test_an_operator_without_a_rule_is_named():
    case = Case("Sin", {}, None)
    model = graph_of(case, {"a": normal(ROWS, 4)}, [normal(ROWS, 4)])
    with pytest.raises(NotOfferedError, match=r"Sin.*engine='pytorch'"):
        gradient_graph(model, "a", ["y0"])


@pytest.mark.parametrize(
    ("kind", "attributes"), [("Softmax", {"axis": 1}), ("Gelu", {"approximate": "tanh"})]
)
def test_an_attribute_without_a_rule_is_named(kind, attributes):
    model = graph_of(
        Case(kind, {}, None, attributes), {"a": normal(ROWS, 4, 5)}, [normal(ROWS, 4, 5)]
    )
    (name,) = attributes
    with pytest.raises(NotOfferedError, match=f"{kind}.*{name}="):
        gradient_graph(model, "a", ["y0"])
