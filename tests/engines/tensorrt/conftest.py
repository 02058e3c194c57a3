from __future__ import annotations

import onnx
import pytest
import torch
from safetensors.torch import save_file
from underpaint_engines.tensorrt.api import Api

from tests.engines.tensorrt.doubles import Silent, record


@pytest.fixture
def write_graph(tmp_path):
    """Write a graph of one operator, y = op(x), and return its record."""

    def write(operator="Relu"):
        ports = [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["rows", 4])
            for name in ("x", "y")
        ]
        node = onnx.helper.make_node(operator, ["x"], ["y"], name="the_node")
        graph = onnx.helper.make_graph([node], "graph", ports[:1], ports[1:])
        opset = onnx.helper.make_opsetid("", 23)
        onnx.save(
            onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10),
            tmp_path / "graph.onnx",
        )
        save_file({"w": torch.ones(1)}, tmp_path / "weights.safetensors")
        return record("x", "y")

    return write


@pytest.fixture
def api():
    return Api("tensorrt", "TensorRT", Silent, jit=False)
