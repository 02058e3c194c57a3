"""From decoded tensors to what the caller asked for."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from PIL import Image
from torch import Tensor

OutputType = Literal["pil", "np", "pt", "latent"]

OUTPUT_TYPES: tuple[OutputType, ...] = get_args(OutputType)


def convert(images: Tensor, output_type: OutputType) -> list[Any]:
    """Return one image per row of ``[B, 3, H, W]`` in [0, 1].

    "pil": 8-bit images; "np": float32 ``[H, W, 3]``; "pt" and "latent": the tensors.
    """
    if output_type in ("pt", "latent"):
        return list(images)
    arrays = images.permute(0, 2, 3, 1).float().cpu().numpy()
    if output_type == "np":
        return list(arrays)
    return [Image.fromarray(np.round(array * 255).astype(np.uint8)) for array in arrays]
