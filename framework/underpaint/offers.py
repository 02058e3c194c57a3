"""What an engine offers, as data: told without loading the engine or its runtime.

An engine's package declares it beside the engine itself, under the same name, as an entry point of
``underpaint.offers``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from underpaint.precision import Dtype
from underpaint.records import Needs


@dataclass(frozen=True)
class Offers:
    """What an engine serves by itself.

    Attributes
    ----------
    edits, cross_bias, hidden_delta : as in `Needs`.
    gradients : the precisions in which it differentiates.
    fallback : the engine that serves a call which this one does not, given the checkpoint; empty
        if none does.
    """

    edits: bool
    cross_bias: bool
    hidden_delta: bool
    gradients: frozenset[Dtype]
    fallback: str = ""

    def missing(self, needs: Needs, dtype: Dtype = "fp32") -> Iterator[str]:
        """Yield which of `needs` the engine does not serve by itself."""
        wanted = {
            "edits": (needs.edits, self.edits),
            "cross_bias": (needs.cross_bias, self.cross_bias),
            "hidden_delta": (needs.hidden_delta, self.hidden_delta),
            "gradient": (bool(needs.gradient), dtype in self.gradients),
        }
        for name, (asked, offered) in wanted.items():
            if asked and not offered:
                yield name
