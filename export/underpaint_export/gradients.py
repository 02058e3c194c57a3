"""The gradient of an exported graph by autograd, for the comparison with its derivative."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from underpaint_engines.bundle import Graph
from underpaint_engines.derivative import Derivative, cotangent_name, derivative

from underpaint_export.graphs import GraphSpec


class AutogradGraph(nn.Module):
    """The gradient of a module by one of its inputs, ``[R, ...]``.

    Parameters
    ----------
    module : takes tensors and returns tensors.
    point : which of its inputs the gradient is by.
    count : how many inputs it has; a cotangent for each output follows them.
    """

    def __init__(self, module: nn.Module, point: int, count: int) -> None:
        super().__init__()
        self.module = module
        self._point, self._count = point, count

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the gradient by autograd."""
        given, cotangents = list(inputs[: self._count]), inputs[self._count :]
        leaf = given[self._point].detach().requires_grad_()
        given[self._point] = leaf
        with torch.enable_grad():
            outputs: Sequence[Tensor] = self.module(*given)
        return torch.autograd.grad(outputs, leaf, cotangents)[0]


def differentiate(spec: GraphSpec, graph: Graph, point: str) -> tuple[GraphSpec, Derivative]:
    """Return the gradient by an input, with a cotangent for each output, of both worlds."""
    names = list(spec.inputs)
    with torch.no_grad():
        outputs = spec.module(*spec.inputs.values())
    cotangents = {
        cotangent_name(name): torch.randn_like(value)
        for name, value in zip(spec.outputs, outputs, strict=True)
    }
    module = AutogradGraph(spec.module, names.index(point), len(names))
    gradient = derivative(graph, point, frozenset(spec.outputs))
    differentiated = replace(
        spec,
        module=module,
        inputs={**spec.inputs, **cotangents},
        outputs=tuple(port.name for port in gradient.outputs),
    )
    return differentiated, gradient
