"""What a runtime is: it opens graphs of a bundle and runs them on tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from underpaint_engines.bundle import Graph


class Session(Protocol):
    """A compiled graph. Thread-safe."""

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run the graph; the outputs belong to the caller."""


class Runtime(Protocol):
    """Compiles graphs. Immutable and thread-safe."""

    @property
    def name(self) -> str:
        """The engine's registered name, e.g. ``onnxruntime``."""

    @property
    def device(self) -> torch.device:
        """Where inputs and outputs lie."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the UNet's graphs."""

    @property
    def opset(self) -> int:
        """The operator set of the graphs it takes; from 23 on, attention is one operator."""

    @property
    def gradients(self) -> bool:
        """Whether it computes derivatives of graphs, and that right."""

    @property
    def versions(self) -> dict[str, str]:
        """The versions of the runtime's packages."""

    def open(self, folder: Path, graph: Graph, outputs: Sequence[str]) -> Session:
        """Compile a graph of the bundle in `folder`, or where it has gradients a `Derivative`.

        It has these outputs only.
        """
