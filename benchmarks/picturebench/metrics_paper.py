"""The metrics of PIE-Bench's own evaluation (arXiv 2310.01506), with networks from local folders.

Nothing is downloaded: what is missing is listed, all of it at once. Names and definitions are those
of the published evaluation: a part of a picture is the picture with the rest black, the outermost
pixels of a mask count as edited, and PSNR, MSE and SSIM are means over the whole picture. The core
profile's are over the part alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)
from torchmetrics.functional.regression import mean_squared_error
from underpaint.run import Scorer
from underpaint_diffuse_it.losses import structure

from benchmarks.picturebench.items import Item
from benchmarks.picturebench.scenes import Pixels

DINO_SIDE = 224
SQUEEZENET = "squeezenet1_1.safetensors"

FOLDERS = {
    "dino": ("config.json", "model.safetensors"),
    "clip": ("config.json", "model.safetensors", "tokenizer.json"),
    "lpips": (SQUEEZENET,),
}
"""The files of each folder: transformers' DINO ViT-B/8, transformers' CLIP ViT-L/14, and
torchvision's SqueezeNet 1.1 for ImageNet as safetensors."""

PAPER_METRICS = (
    "structure_distance", "psnr_unedit_part", "lpips_unedit_part", "mse_unedit_part",
    "ssim_unedit_part", "clip_similarity_source_image", "clip_similarity_target_image",
    "clip_similarity_target_image_edit_part",
)  # fmt: skip


class MissingWeightsError(Exception):
    """Folders, files or packages that the paper profile needs are not there."""


@dataclass(frozen=True, eq=False)
class PaperMetrics:
    """The networks; called with an item and its edited picture.

    Attributes
    ----------
    dino, clip : features, as of the engines' scorers.
    lpips : maps two pictures [1, 3, H, W] in [-1, 1] to their distance.
    """

    dino: Scorer
    clip: Scorer
    lpips: Callable[[Tensor, Tensor], Tensor]

    @classmethod
    def load(cls, folders: Mapping[str, Path | None]) -> PaperMetrics:
        """Load the networks from the folders `dino`, `clip` and `lpips`.

        Raises
        ------
        MissingWeightsError
            If anything is missing; the message lists all of it.
        """
        refuse_missing(what_is_missing(folders))
        from underpaint_engines.vision import load_scorer

        dino, clip, lpips = (Path(str(folders[name])) for name in FOLDERS)
        device = torch.device("cpu")
        return cls(load_scorer(dino, device), load_scorer(clip, device), load_lpips(lpips))

    @torch.no_grad()
    def __call__(self, item: Item, edited: Pixels) -> dict[str, float]:
        """Return all metrics; those of an empty part are NaN."""
        source, target = _unit(item.picture), _unit(edited)
        inside = torch.from_numpy(item.mask.copy())[None, None].float()
        inside[..., [0, -1], :] = inside[..., [0, -1]] = 1.0
        return {
            "structure_distance": self._structure(source, target),
            **self._unedited(source * (1 - inside), target * (1 - inside), inside),
            "clip_similarity_source_image": self._clip(source, item.source_prompt),
            "clip_similarity_target_image": self._clip(target, item.target_prompt),
            "clip_similarity_target_image_edit_part": (
                self._clip(target * inside, item.target_prompt) if inside.any() else math.nan
            ),
        }

    def _structure(self, source: Tensor, target: Tensor) -> float:
        """Return the mean square between the keys' self-similarities (arXiv 2201.00424, eq. 3)."""
        size = (DINO_SIDE, DINO_SIDE)
        small = [
            nn.functional.interpolate(each, size, mode="bilinear", antialias=True)
            for each in (target, source)
        ]
        keys = [self.dino.vit_features(each)[0] for each in small]
        return float(structure(*keys))

    def _unedited(self, source: Tensor, target: Tensor, inside: Tensor) -> dict[str, float]:
        names = ("psnr", "lpips", "mse", "ssim")
        if bool(inside.all()):
            return {f"{name}_unedit_part": math.nan for name in names}
        values = (
            peak_signal_noise_ratio(target, source, data_range=1.0),
            self.lpips(target * 2 - 1, source * 2 - 1),
            mean_squared_error(target.contiguous(), source.contiguous()),
            structural_similarity_index_measure(target, source, data_range=1.0),
        )
        return {
            f"{name}_unedit_part": float(torch.as_tensor(value).mean())
            for name, value in zip(names, values, strict=True)
        }

    def _clip(self, image: Tensor, text: str) -> float:
        """Return CLIPScore (arXiv 2104.08718): a hundred times the cosine, at least 0."""
        cosine = (self.clip.image_features(image) * self.clip.text_features([text])).sum()
        return max(100 * float(cosine), 0.0)


def what_is_missing(folders: Mapping[str, Path | None]) -> Iterator[str]:
    """Yield a line for each folder, file and package that is not there."""
    for name, files in FOLDERS.items():
        folder = folders.get(name)
        if name == "lpips":
            yield from missing_for_lpips(folder)
        elif folder is None:
            yield f"--{name} FOLDER, with {', '.join(files)}"
        else:
            yield from _absent(name, folder)


def missing_for_lpips(folder: Path | None) -> Iterator[str]:
    """Yield a line for what LPIPS needs and does not find."""
    if find_spec("torchvision") is None:
        yield "the package torchvision, of the same build as torch (for LPIPS)"
    if folder is None:
        yield f"--lpips FOLDER, with {SQUEEZENET}"
    else:
        yield from _absent("lpips", folder)


def refuse_missing(missing: Iterable[str]) -> None:
    """Raise `MissingWeightsError` with all that is missing, if anything is."""
    lines = list(missing)
    if lines:
        raise MissingWeightsError(
            "Nothing is downloaded for the papers' metrics, and these are missing:\n- "
            + "\n- ".join(lines)
            + "\nGive them, or leave the metrics out (PictureBench: --profile core)."
        )


def _absent(name: str, folder: Path) -> Iterator[str]:
    for file in FOLDERS[name]:
        if not (folder / file).is_file():
            yield f"{folder / file} (of --{name})"


def load_lpips(folder: Path) -> nn.Module:
    """Return LPIPS on SqueezeNet (arXiv 1801.03924): torchmetrics' network and linear weights.

    torchmetrics downloads the backbone, so it is built with random weights and filled from the
    folder's safetensors; names are torchvision's (``features.0.weight``).
    """
    from safetensors.torch import load_file
    from torchmetrics.functional.image.lpips import _LPIPS

    net: nn.Module = _LPIPS(pretrained=True, net="squeeze", pnet_rand=True)
    slices = net.get_submodule("net.slices")
    layers = {name: layer for part in slices.children() for name, layer in part.named_children()}
    for key, value in load_file(folder / SQUEEZENET).items():
        kind, layer, *rest = key.split(".")
        if kind == "features" and rest:
            layers[layer].get_parameter(".".join(rest)).data.copy_(value)
    return net.eval()


def _unit(picture: Pixels) -> Tensor:
    return torch.tensor(picture).permute(2, 0, 1)[None] / 255
