"""The derivative of a graph as an OpenVINO model.

OpenVINO reads weights from beside a graph's file alone, and a derivative is in no file: it is read
without weights, which the graph that it was made of then gives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import openvino

from underpaint_engines.derivative import Derivative
from underpaint_engines.pruning import without_weights


def read_derivative(
    core: openvino.Core, folder: Path, graph: Derivative, outputs: Sequence[str]
) -> openvino.Model:
    """Return the model of a derivative; its weights lie where those of its graph do.

    Raises
    ------
    NotOfferedError
        If the graph has no derivative.
    """
    model = core.read_model(without_weights(folder, graph, outputs))
    weights = {
        node.get_friendly_name(): node
        for node in core.read_model(folder / graph.file).get_ops()
        if node.get_type_name() == "Constant"
    }
    for parameter in model.get_parameters():
        name = parameter.get_friendly_name()
        if name in weights:
            _put(weights[name], parameter)
            model.remove_parameter(parameter)
    return model


def _put(weight: openvino.Node, parameter: openvino.Node) -> None:
    """Let what reads a parameter read a weight, each further one a copy where it is square.

    OpenVINO 2026.4 rearranges matrices for the processor and keeps them by address, shape and
    arrangement alone. A square one that is read as it is and transposed, as gradients do, would be
    rearranged once, for whichever reads it first, and the other would compute with its transpose.
    """
    first, *others = parameter.output(0).get_target_inputs()
    first.replace_source_output(weight.output(0))
    shape = list(weight.get_output_shape(0))
    square = len(shape) == 2 and shape[0] == shape[1]
    for each in others:
        each.replace_source_output((_copy(weight) if square else weight).output(0))


def _copy(weight: openvino.Node) -> openvino.Node:
    copy = openvino.Tensor(weight.get_element_type(), weight.get_output_shape(0))
    weight.get_tensor_view().copy_to(copy)
    return openvino.op.Constant(copy, shared_memory=True)
