"""What this package's engines offer; see `underpaint.offers`. Loads no runtime."""

from __future__ import annotations

from functools import partial

from underpaint.offers import Offers

_all_edits = partial(Offers, edits=True, cross_bias=True, hidden_delta=True)
_compiled = partial(_all_edits, fallback="pytorch")

PYTORCH = _all_edits(gradients=frozenset({"fp32", "bf16", "fp16"}))
ONNXRUNTIME = _compiled(gradients=frozenset({"fp32", "fp16"}))
OPENVINO = _compiled(gradients=frozenset({"fp32"}))
TENSORRT = _compiled(gradients=frozenset())
