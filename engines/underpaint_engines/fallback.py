"""The checkpoint behind a compiled engine, for what the compiled one does not offer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import torch
from underpaint.engine import Engine

from underpaint_engines.scorer import ClipScorer, LazyScorer


@dataclass(eq=False)
class Fallback:
    """A checkpoint's PyTorch engine and scorer, loaded when first needed and then kept.

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
    _scorer: LazyScorer = field(init=False)
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self._scorer = LazyScorer(self.source, self.device)

    def __call__(self) -> Engine:
        """Return the engine; of several threads one loads it."""
        from underpaint_engines import pytorch  # seconds that most runs need not wait

        with self._lock:
            if self._engine is None:
                self._engine = pytorch.load(
                    self.source, name=self.name, dtype=self.dtype, device=self.device
                )
            return self._engine

    def scorer(self) -> ClipScorer | None:
        """Return the checkpoint's scorer, or None if it has none."""
        return self._scorer()
