"""From the UNet's graph with biases to the one without: traced once, and checked by its parity."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass
from underpaint_engines.inputs import is_bias

_STAYS_ZERO = ("Cast", "Gather", "Unsqueeze")
"""What the exporter puts between a bias and where it is added."""

_MASK = 3
"""Which input of `Attention` is added to its logits."""


def without_biases(model: ir.Model) -> ir.Model:
    """Return a copy of a graph whose biases are gone, as if they were zero; weights are shared.

    Even a bias of zero costs a step some hundredths of its time.
    """
    copy = model.clone()
    biases = [value for value in copy.graph.inputs if is_bias(value.name or "")]
    for bias in biases:
        _drop(bias)
    RemoveUnusedNodesPass()(copy)
    for bias in biases:
        copy.graph.inputs.remove(bias)
    return copy


def _drop(zero: ir.Value) -> None:
    """Let nothing depend on a value that is zero."""
    for node, index in tuple(zero.uses()):
        if node.op_type in _STAYS_ZERO:
            _drop(node.outputs[0])
        elif node.op_type == "Add":
            other = node.inputs[1 - index]
            assert other is not None  # noqa: S101  (Add has two)
            node.outputs[0].replace_all_uses_with(other)
        else:
            assert (node.op_type, index) == ("Attention", _MASK)  # noqa: S101
            node.resize_inputs(_MASK)
