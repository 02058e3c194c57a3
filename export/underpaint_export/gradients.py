"""The gradient of the edited UNet as a graph of its own: a vector-Jacobian product.

An energy over readings stays plain Python; what reaches the graph is its derivative with respect to
each reading, the cotangents. So one graph serves every energy of every plugin. It has a cotangent
for each output of the edited UNet and a gradient for each input in `WRT`; a runtime drops those
that a run does not ask for before it compiles (`underpaint_engines.zeros`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import torch
from torch import Tensor, fx, nn
from torch._dynamo.source import ConstantSource
from torch._functorch.compile_utils import fx_graph_cse
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    ShapeEnv,
    StatelessSymbolicContext,
)
from underpaint.records import Wrt

from underpaint_export.decompositions import decompositions
from underpaint_export.differentiable import Differentiable
from underpaint_export.wrappers import EditedUNetGraph

WRT: tuple[Wrt, ...] = get_args(Wrt)


class GradientGraph(nn.Module):
    """The gradient by autograd, and so the reference that the exported graph is compared with.

    Parameters
    ----------
    unet : the edited UNet with biases.
    inputs : the names of its inputs.
    pulled : which of its outputs have a cotangent.
    """

    def __init__(self, unet: EditedUNetGraph, inputs: Sequence[str], pulled: Sequence[int]) -> None:
        super().__init__()
        self.unet = unet
        self._points = [inputs.index(name) for name in WRT]
        self._count = len(inputs)
        self._pulled = tuple(pulled)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the gradient by each input in `WRT`.

        The inputs are those of the edited UNet, `loss_scale` ``[R]`` and the cotangents, which it
        multiplies: gradients of fp16 would underflow.
        """
        given = list(inputs[: self._count])
        scale, *cotangents = inputs[self._count :]
        for index in self._points:
            given[index] = given[index].detach().requires_grad_()
        with torch.enable_grad():
            outputs = self.unet(*given)
        scaled = [each * _by_row(scale, each) for each in cotangents]
        gradients = torch.autograd.grad(
            [outputs[index] for index in self._pulled],
            [given[index] for index in self._points],
            scaled,
        )
        return tuple(each / _by_row(scale, each) for each in gradients)


def trace(module: nn.Module, inputs: Mapping[str, Tensor], axes: Sequence[int]) -> fx.GraphModule:
    """Return the operators that a `GradientGraph` and autograd run, rows of any number.

    `axes` says which axis of each input counts rows.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv())
    examples = [
        mode.from_tensor(value, symbolic_context=_rows_open(value, axis), source=_source(name))
        for (name, value), axis in zip(inputs.items(), axes, strict=True)
    ]
    with mode, Differentiable(), torch.no_grad():
        traced = make_fx(module, decomposition_table=dict(decompositions()))(*examples)
    traced.graph = fx_graph_cse(traced.graph)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    return traced


def _by_row(scale: Tensor, value: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (value.dim() - 1))


def _rows_open(value: Tensor, axis: int) -> StatelessSymbolicContext[Any, Any]:
    # Duck-shaped: equal numbers are one symbol, and no other axis is open.
    sizes = [DimDynamic.DUCK if k == axis else DimDynamic.STATIC for k in range(value.dim())]
    return StatelessSymbolicContext(dynamic_sizes=sizes)


def _source(name: str) -> ConstantSource:
    return ConstantSource(name.replace(".", "_"))
