"""CLIP and ViT features for ranking, directional losses and guidance, in PyTorch.

A checkpoint has a scorer if its folder ``clip`` holds a transformers CLIPModel over the
checkpoint's own tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F
from underpaint.errors import InvalidRequestError

from underpaint_engines.checkpoint import SCORER, TOKENIZER, find_folder
from underpaint_engines.tokenizer import PromptTokenizer

if TYPE_CHECKING:
    from transformers import CLIPModel

MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)
"""Of each colour channel in [0, 1]; every CLIP is trained on images normalised by these."""


class ClipScorer:
    """A CLIPModel as a scorer; see `underpaint.run.Scorer` for the contract.

    Made by `load`. Safe to call from many threads. Images of any size are stretched to the ViT's
    own square (bicubic, antialiased); those that need a gradient get one.

    Parameters
    ----------
    clip : frozen, in fp32.
    tokenizer : splits prompts; the end of one that does not fit is not seen.
    """

    def __init__(self, clip: CLIPModel, tokenizer: PromptTokenizer) -> None:
        self._clip = clip
        self._tokenizer = tokenizer
        self._device: torch.device = clip.device
        self._side: int = clip.config.vision_config.image_size

    def image_features(self, images: Tensor) -> Tensor:
        """Return unit features ``[B, D]`` of images ``[B, 3, H, W]`` around [0, 1].

        Raises
        ------
        InvalidRequestError
            If these are no such images.
        """
        last = self._states(images)[-1]
        pooled = self._clip.vision_model.post_layernorm(last[:, 0])
        return F.normalize(self._clip.visual_projection(pooled), dim=-1)

    @torch.no_grad()
    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """Return unit features ``[B, D]`` of prompts.

        Raises
        ------
        InvalidRequestError
            For a single text in place of a sequence.
        """
        if isinstance(prompts, str):
            raise InvalidRequestError(f"prompts: expected a sequence of texts; give [{prompts!r}].")
        ids = torch.tensor([self._tokenizer(prompt).ids for prompt in prompts])
        pooled = self._clip.text_model(input_ids=ids.to(self._device)).pooler_output
        return F.normalize(self._clip.text_projection(pooled), dim=-1)

    def vit_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last block's keys ``[B, N, D']`` and [CLS] ``[B, D']``.

        Heads side by side. The first key is [CLS]'s own, then the patches' row by row. [CLS] is the
        block's output, before the last normalisation, as DiffuseIT takes it (arXiv 2209.15264).

        Raises
        ------
        InvalidRequestError
            If these are no images.
        """
        *_, before, after = self._states(images)
        block = self._clip.vision_model.encoder.layers[-1]
        return block.self_attn.k_proj(block.layer_norm1(before)), after[:, 0]

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the perceptual distance ``[B]`` of images ``[B, 3, H, W]``, 0 for equal ones.

        ``sum_l mean_n |u_ln - v_ln|^2`` over the blocks l and patches n, where u and v are the
        patches' hidden states scaled to unit length: as LPIPS (arXiv 1801.03924, equation 1), but
        of a ViT and without learned weights. Thresholds given for LPIPS do not carry over.

        Raises
        ------
        InvalidRequestError
            If these are no images, or not equally many.
        """
        return patch_distance(self._states, first, second)

    def _states(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the hidden states ``[B, N, D']`` before the first block and after each."""
        check_pixels(images)
        pixels = normalise(fit(images.to(self._device, torch.float32), self._side))
        states: tuple[Tensor, ...] = self._clip.vision_model(
            pixels, output_hidden_states=True
        ).hidden_states
        return states


def check_pixels(images: Tensor) -> None:
    """Raise InvalidRequestError unless these are images ``[B, 3, H, W]`` of floats."""
    if images.dim() != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise InvalidRequestError(
            "images: expected [B, 3, H, W], floats around [0, 1]; got "
            f"{list(images.shape)} of {str(images.dtype).removeprefix('torch.')}."
        )


def patch_distance(
    states: Callable[[Tensor], Sequence[Tensor]], first: Tensor, second: Tensor
) -> Tensor:
    """Return the distance ``[B]`` of images by the `states` of a ViT; see `ClipScorer.distance`."""
    if len(first) != len(second):
        raise InvalidRequestError(
            f"distance: {len(first)} images and {len(second)}; give equally many."
        )
    pairs = zip(states(first)[1:], states(second)[1:], strict=True)
    return torch.stack([_difference(u[:, 1:], v[:, 1:]) for u, v in pairs]).sum(0)


def fit(images: Tensor, side: int) -> Tensor:
    """Stretch images to ``[B, 3, side, side]``."""
    if images.shape[2:] == (side, side):
        return images
    return F.interpolate(images, size=(side, side), mode="bicubic", antialias=True)


def normalise(
    images: Tensor, mean: Sequence[float] = MEAN, deviation: Sequence[float] = DEVIATION
) -> Tensor:
    """Turn images ``[B, 3, H, W]`` in [0, 1] into what a ViT takes; left out, every CLIP."""
    middle, width = (
        torch.tensor(values, device=images.device)[:, None, None] for values in (mean, deviation)
    )
    return (images - middle) / width


def _difference(first: Tensor, second: Tensor) -> Tensor:
    change = F.normalize(first, dim=-1) - F.normalize(second, dim=-1)
    return change.square().sum(-1).mean(1)


def load(folder: Path, device: torch.device) -> ClipScorer:
    """Load the scorer of a checkpoint folder that has one.

    Raises
    ------
    ModelLoadError
        If its files are missing, corrupt or pickled, or do not fit each other.
    """
    return load_clip(folder / SCORER, folder / TOKENIZER, device)


def load_clip(folder: Path, tokenizer: Path, device: torch.device) -> ClipScorer:
    """Load a CLIPModel from its folder, and its tokenizer from another or the same one.

    Raises
    ------
    ModelLoadError
        If files are missing, corrupt or pickled, or do not fit each other.
    """
    from transformers import CLIPModel

    from underpaint_engines import module_loading

    clip = load_frozen(CLIPModel, folder, device)
    tokens = module_loading.load_tokenizer(tokenizer)
    length = clip.config.text_config.max_position_embeddings
    split = PromptTokenizer(tokens.backend_tokenizer, module_loading.special_tokens(tokens), length)
    return ClipScorer(clip, split)


def load_frozen(kind: Any, folder: Path, device: torch.device, **options: Any) -> Any:
    """Load a model of a transformers class from its folder, frozen, in fp32.

    Raises
    ------
    ModelLoadError
        If its files are missing, corrupt or pickled, or do not fit each other.
    """
    from underpaint_engines import module_loading

    # Weights made under a caller's inference mode could never be part of a gradient.
    with torch.inference_mode(False), module_loading.no_progress_bar():
        model, report = module_loading.guarded(
            folder.name,
            lambda: kind.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **options,
            ),
        )
        module_loading.check_report(folder.name, report)
        return module_loading.freeze(model, device)


@dataclass(eq=False)
class LazyScorer:
    """A checkpoint's scorer, loaded when it is first needed and then kept.

    Attributes
    ----------
    source : the checkpoint.
    device : where the features are computed.
    """

    source: str | Path
    device: torch.device
    _loaded: ClipScorer | None = None
    _lock: Lock = field(default_factory=Lock)

    def __call__(self) -> ClipScorer | None:
        """Return the scorer, or None if there is none; of several threads one loads it."""
        with self._lock:
            if self._loaded is None:
                folder = find_folder(self.source)
                if (folder / SCORER).is_dir():
                    self._loaded = load(folder, self.device)
            return self._loaded
