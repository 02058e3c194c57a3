"""Where a word's cross-attention lies in a generated picture, measured while it is drawn."""

from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray

from underpaint_picturebook.backgrounds import SIDE
from underpaint_picturebook.train.grounding import record

MAP_SIDE = 16


class WordMaps:
    """Means of the conditional rows' maps over heads, 16x16 layers and steps.

    Give `collect` to the pipeline as ``callback_on_step_end``; afterwards `maps` is
    [N, 256, 77], each place's attention over the tokens.
    """

    def __init__(self, pipe: StableDiffusionPipeline) -> None:
        self._recorders = record(pipe.unet)
        self._sum: NDArray[np.float32] | None = None
        self._steps = 0

    def collect(
        self, pipe: StableDiffusionPipeline, step: int, timestep: int, values: dict[str, Any]
    ) -> dict[str, Any]:
        """Add the maps of the step that has just run; changes nothing."""
        del pipe, step, timestep
        maps = [r.map for r in self._recorders if r.map is not None]
        layers = [m for m in maps if m.shape[1] == MAP_SIDE**2]
        mean = torch.stack([m.float() for m in layers]).mean(dim=0).numpy()
        conditional: NDArray[np.float32] = mean[len(mean) // 2 :]
        self._sum = conditional if self._sum is None else self._sum + conditional
        self._steps += 1
        return values

    def take(self) -> NDArray[np.float32]:
        """Return the maps since the last `take`."""
        if self._sum is None:
            raise RuntimeError("no step has run: pass `collect` as callback_on_step_end")
        mean = self._sum / np.float32(self._steps)
        self._sum, self._steps = None, 0
        return mean


def concentration(maps: NDArray[np.float32], tokens: list[int], mask: NDArray[np.bool_]) -> float:
    """Return the tokens' mass inside the mask over the mask's share of the picture.

    `maps` [256, 77], `mask` [256, 256]; 1 means that the word looks everywhere alike.
    """
    step = SIDE // MAP_SIDE
    cover = mask.reshape(MAP_SIDE, step, MAP_SIDE, step).mean(axis=(1, 3)).ravel()
    mass = maps[:, tokens].sum(axis=1)
    return float((mass * cover).sum() / mass.sum() / cover.mean())
