"""Reading activations, and adding to the mid block's output, through forward hooks.

The hooks are registered once at load. What a call wants reaches them through a context variable:
resnets take no keyword arguments to carry it, each thread has a context of its own, and so calls
that run at the same time on the same modules cannot see each other's wishes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from underpaint_engines.sites import activation_modules

MID_BLOCK = "mid_block"


@dataclass(frozen=True, eq=False)
class ActivationControl:
    """What one call wants of the activations.

    Attributes
    ----------
    names : activation sites to be read.
    hidden_delta : of the UNet's dtype and device, added to the mid block's output; or None.
    features : filled in while the UNet runs: site name -> ``[R, C, h, w]`` fp32.
    """

    names: frozenset[str] = frozenset()
    hidden_delta: Tensor | None = None
    features: dict[str, Tensor] = field(default_factory=dict)


_CURRENT: ContextVar[ActivationControl | None] = ContextVar("activations", default=None)


@contextmanager
def controlled(control: ActivationControl) -> Iterator[None]:
    """Let the hooks of this thread's forward passes follow `control`."""
    token = _CURRENT.set(control)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def install(unet: UNet2DConditionModel) -> None:
    """Register the hook of every activation site, once and for all calls."""
    for name, module in activation_modules(unet):
        module.register_forward_hook(_Hook(name))


class _Hook:
    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(
        self, _module: nn.Module, _inputs: object, output: Tensor | tuple[Tensor, object]
    ) -> Tensor | None:
        control = _CURRENT.get()
        if control is None:
            return None
        if self.name in control.names:
            # A down block also returns its skip connections. The copy is the caller's to change.
            value = output if isinstance(output, Tensor) else output[0]
            control.features[self.name] = value.to(torch.float32, copy=True)
        if self.name == MID_BLOCK and control.hidden_delta is not None:
            assert isinstance(output, Tensor)  # noqa: S101  (no mid block returns a tuple)
            return output + control.hidden_delta
        return None
