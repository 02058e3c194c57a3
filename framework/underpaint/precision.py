"""The precisions that models compute in, by their short names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from underpaint.errors import ModelLoadError

if TYPE_CHECKING:
    import torch

Dtype = Literal["fp32", "fp16", "bf16"]

_TORCH_NAMES: Mapping[Dtype, str] = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def torch_dtype(name: Dtype) -> torch.dtype:
    """Return torch's dtype of a short name."""
    import torch

    dtype: torch.dtype = getattr(torch, _TORCH_NAMES[name])
    return dtype


def dtype_name(dtype: torch.dtype) -> Dtype:
    """Return the short name of torch's dtype.

    Raises
    ------
    ModelLoadError
        If it is none that a model computes in.
    """
    for name, known in _TORCH_NAMES.items():
        if str(dtype) == f"torch.{known}":
            return name
    raise ModelLoadError(f"No engine computes in {dtype}. Use one of {', '.join(_TORCH_NAMES)}.")
