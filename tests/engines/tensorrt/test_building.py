"""What is built for a GPU that is not there, and what cannot be."""

from __future__ import annotations

import pytest
import torch
from underpaint.errors import ModelLoadError
from underpaint_engines import plans
from underpaint_engines.tensorrt import rtx
from underpaint_engines.tensorrt.builder import build, profile_rows

from tests.engines.tensorrt.doubles import record


def test_a_graph_is_built_for_a_gpu_that_is_not_there(write_graph, tmp_path):
    plan = build(rtx.API, tmp_path, write_graph(), ["y"], capability="SM89")
    assert len(plan) > 1000


def test_an_operator_that_tensorrt_lacks_is_named(write_graph, tmp_path):
    with pytest.raises(ModelLoadError, match=r"TensorRT-RTX .* graph\.onnx: .*Det 'the_node'"):
        build(rtx.API, tmp_path, write_graph("Det"), ["y"], capability="SM89")


def test_what_cannot_be_built_says_why(write_graph, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU to build for")
    with pytest.raises(ModelLoadError, match=r"cannot build graph\.onnx for this GPU: .*CUDA"):
        build(rtx.API, tmp_path, write_graph(), ["y"])


@pytest.mark.filterwarnings("ignore:.*no-ops in TensorRT-RTX:DeprecationWarning")
def test_timings_are_kept_and_taken_up_again(write_graph, tmp_path):
    file = tmp_path / "timings.plan"
    for _ in range(2):
        build(rtx.API, tmp_path, write_graph(), ["y"], capability="SM89", timings=file)
        assert plans.read(file)


def test_a_profile_spans_the_rows_of_a_graph():
    assert profile_rows(record("x", "y")) == (1, 4, 16)
    assert profile_rows(record("x", "y", max_rows=2)) == (1, 2, 2)
    assert profile_rows(record("x", "y", max_rows=1)) == (1, 1, 1)
