"""A derivative on OpenVINO has the weights of the graph that it is made of, whichever way round."""

from __future__ import annotations

import onnx_ir as ir
import pytest
import torch
from openvino import Core
from underpaint_engines.bundle import Graph, Port
from underpaint_engines.derivative import cotangent_name, derivative, gradient_name
from underpaint_engines.openvino import OpenVino


def write_graph(folder, weight):
    """Write ``noise = sigmoid(sample W) W^T``, its weight outside, and return its record."""
    matrix = ir.val("weight", const_value=ir.tensor(weight.numpy(), name="weight"))
    before, after = (["rows", side] for side in weight.shape)
    sample, noise = (ir.val(name, ir.DataType.FLOAT, before) for name in ("sample", "noise"))
    product, gates = (ir.val(name, ir.DataType.FLOAT, after) for name in ("product", "gates"))
    swapped = ir.val("swapped", ir.DataType.FLOAT, weight.shape[::-1])
    nodes = [
        ir.node("MatMul", [sample, matrix], outputs=[product]),
        ir.node("Sigmoid", [product], outputs=[gates]),
        ir.node("Transpose", [matrix], {"perm": [1, 0]}, outputs=[swapped]),
        ir.node("MatMul", [gates, swapped], outputs=[noise]),
    ]
    graph = ir.Graph(
        [sample],
        [noise],
        nodes=nodes,
        initializers=[matrix],
        opset_imports={"": 23},
        name="one",
    )
    model = ir.Model(graph, ir_version=10)
    ir.save(model, folder / "one.onnx", external_data="weights.bin", size_threshold_bytes=0)
    side = weight.shape[0]
    ports = [Port(name=name, dtype="float32", shape=("rows", side)) for name in ("sample", "noise")]
    return Graph(file="one.onnx", dtype="fp32", inputs=ports[:1], outputs=ports[1:], max_rows=4)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("shape", [(32, 32), (16, 32)])
def test_a_weight_is_read_as_it_is_and_transposed(tmp_path, shape, rows):
    weight, sample = torch.randn(shape), torch.randn(rows, shape[0], requires_grad=True)
    noise = (sample @ weight).sigmoid() @ weight.T
    cotangent = torch.randn_like(noise)
    (expected,) = torch.autograd.grad(noise, sample, cotangent)
    record = derivative(write_graph(tmp_path, weight), "sample", frozenset({"noise"}))
    runtime = OpenVino(torch.device("cpu"), torch.float32)
    session = runtime.open(tmp_path, record, [gradient_name("sample")])
    got = session({"sample": sample, cotangent_name("noise"): cotangent})
    torch.testing.assert_close(got[gradient_name("sample")], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "gradients"), [(torch.float32, True), (torch.bfloat16, False)])
def test_only_what_was_compared_with_autograd_is_offered(dtype, gradients, monkeypatch):
    monkeypatch.setattr(Core, "get_property", lambda *_: ["FP32", "BF16"])
    assert OpenVino(torch.device("cpu"), dtype).gradients is gradients
