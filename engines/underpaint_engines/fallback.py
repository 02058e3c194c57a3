"""The PyTorch engine that stands in where a compiled one does not offer what a run needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import torch
from underpaint.engine import Engine


@dataclass(eq=False)
class Fallback:
    """A checkpoint's PyTorch engine, loaded when it is first needed and then kept.

    Attributes
    ----------
    source : the checkpoint.
    name : the model's name.
    dtype, device : those of the engine that it stands in for.
    """

    source: str | Path
    name: str
    dtype: torch.dtype
    device: torch.device
    _engine: Engine | None = None
    _lock: Lock = field(default_factory=Lock)

    def __call__(self) -> Engine:
        """Return the engine; of several threads one loads it."""
        from underpaint_engines import pytorch  # seconds that most runs need not wait

        with self._lock:
            if self._engine is None:
                self._engine = pytorch.load(
                    self.source, name=self.name, dtype=self.dtype, device=self.device
                )
            return self._engine
