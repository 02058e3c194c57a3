"""A scorer from a folder that transformers wrote: a CLIP with its tokenizer, or a ViT such as DINO.

A checkpoint brings a scorer of its own (`underpaint_engines.scorer`); this is for another one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from underpaint.errors import ModelLoadError, NotOfferedError, choices
from underpaint.run import Scorer

from underpaint_engines import scorer
from underpaint_engines.files import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VITS = ("vit", "dinov2")
"""The ``model_type`` of the ViTs whose blocks are known here; DINO's is "vit"."""

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of the pixels, where the folder's preprocessor does not say."""


class VitScorer:
    """A ViT as a scorer that has no texts; see `underpaint.run.Scorer` for the contract.

    Safe to call from many threads. Images of any size are stretched to the ViT's own square.

    Parameters
    ----------
    vit : a ViTModel or Dinov2Model, frozen, in fp32.
    mean, deviation : of each colour channel in [0, 1].
    """

    def __init__(
        self, vit: PreTrainedModel, mean: Sequence[float], deviation: Sequence[float]
    ) -> None:
        self._vit = vit
        self._mean, self._deviation = tuple(mean), tuple(deviation)
        self._side: int = vit.config.image_size

    def image_features(self, images: Tensor) -> Tensor:
        """Refuse: its features are of no space that texts have."""
        del images
        raise self._no_texts()

    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """Refuse: it knows no texts."""
        del prompts
        raise self._no_texts()

    def vit_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last block's keys ``[B, N, D']`` and [CLS] ``[B, D']``; differentiable.

        Raises
        ------
        InvalidRequestError
            If these are no images.
        """
        *_, before, after = self._states(images)
        block = _blocks(self._vit)[-1]
        norm = block.layernorm_before if self._vit.config.model_type == "vit" else block.norm1
        return block.attention.k_proj(norm(before)), after[:, 0]

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the distance ``[B]`` of images by their patches; see `ClipScorer.distance`.

        Raises
        ------
        InvalidRequestError
            If these are no images, or not equally many.
        """
        return scorer.patch_distance(self._states, first, second)

    def _states(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the hidden states ``[B, N, D']`` before the first block and after each."""
        scorer.check_pixels(images)
        fitted = scorer.fit(images.to(self._vit.device, torch.float32), self._side)
        pixels = scorer.normalise(fitted, self._mean, self._deviation)
        states: tuple[Tensor, ...] = self._vit(pixels, output_hidden_states=True).hidden_states
        return states

    def _no_texts(self) -> NotOfferedError:
        return NotOfferedError(
            f"A {self._vit.config.model_type} has keys and [CLS], but no features that texts have "
            "too. Give the folder of a CLIPModel."
        )


@lru_cache(maxsize=4)
def load_scorer(folder: Path, device: torch.device) -> Scorer:
    """Load a folder that ``save_pretrained`` wrote: a CLIPModel and its tokenizer, or a ViT.

    The last few are kept.

    Raises
    ------
    ModelLoadError
        If its files are missing, corrupt or pickled, or it holds another kind of model.
    """
    if not folder.is_dir():
        raise ModelLoadError(f"There is no folder {folder}. Give one that save_pretrained wrote.")
    kind = str(read_json(folder / "config.json").get("model_type"))
    if kind == "clip":
        return scorer.load_clip(folder, folder, device)
    if kind not in VITS:
        raise ModelLoadError(f"{folder} holds a {kind!r}. {choices(kind, ('clip', *VITS))}")
    from transformers import AutoModel

    # A ViT's pooler is on top of what is read here, and DINO has none.
    options = {"add_pooling_layer": False} if kind == "vit" else {}
    return VitScorer(scorer.load_frozen(AutoModel, folder, device, **options), *_pixels(folder))


def _blocks(vit: PreTrainedModel) -> Any:
    return vit.layers if vit.config.model_type == "vit" else vit.encoder.layer


def _pixels(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Return the mean and the deviation that the folder's preprocessor takes out of pixels."""
    file = folder / "preprocessor_config.json"
    settings = read_json(file) if file.is_file() else {}
    mean, deviation = IMAGENET
    return settings.get("image_mean", mean), settings.get("image_std", deviation)
