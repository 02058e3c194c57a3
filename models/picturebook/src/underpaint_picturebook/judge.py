"""The judge: a small segmentation net that says what a picture shows.

It is trained on renders only and measures what a method did to a picture; no method uses it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from underpaint_picturebook.backgrounds import SIDE

WEIGHTS = Path(__file__).parent / "judge_weights"

INPUT_SIDE = 128
OUTPUT_SIDE = 64
LEAST_AREA = 0.006
"""Smallest share of the picture that counts as an object; the smallest render has 1.4 %."""
LEAST_CONFIDENCE = 0.6
"""Least mean probability of a class over its own pixels."""


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(8, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return x plus a correction of the same shape."""
        out: Tensor = x + self.second(F.silu(self.first(F.silu(self.norm(x)))))
        return out


class JudgeNet(nn.Module):
    """A U-shaped net: [B, 3, 128, 128] to class logits per pixel, background and style."""

    def __init__(
        self,
        classes: int,
        backgrounds: int,
        styles: int,
        widths: tuple[int, ...] = (16, 40, 64, 96),
    ) -> None:
        super().__init__()
        ins = (3, *widths[:-1])
        self.down = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride=2, padding=1) for i, o in zip(ins, widths, strict=True)
        )
        self.blocks = nn.ModuleList(nn.Sequential(_Block(w), _Block(w)) for w in widths)
        self.up = nn.ModuleList(nn.Conv2d(o, i, 1) for i, o in pairwise(widths))
        self.mix = nn.ModuleList(_Block(w) for w in widths[:-1])
        self.pixel = nn.Conv2d(widths[0], classes, 1)
        self.whole = nn.Linear(widths[-1] * 2, backgrounds + styles)
        self._backgrounds = backgrounds

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits [B, classes, 64, 64], [B, backgrounds] and [B, styles]."""
        kept = []
        for down, block in zip(self.down, self.blocks, strict=True):
            x = block(down(x))
            kept.append(x)
        pooled = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        whole = self.whole(pooled)
        for level in reversed(range(len(self.up))):
            x = F.interpolate(self.up[level](x), scale_factor=2.0) + kept[level]
            x = self.mix[level](x)
        return self.pixel(x), whole[:, : self._backgrounds], whole[:, self._backgrounds :]


@dataclass(frozen=True)
class Found:
    """One object that the judge sees."""

    name: str
    mask: NDArray[np.bool_]
    """[256, 256]."""
    box: tuple[int, int, int, int]
    """Left, top, right, bottom of the mask, right and bottom exclusive."""
    colour: str
    confidence: float
    """Mean probability of the class over the mask."""

    @property
    def centre(self) -> tuple[float, float]:
        """Mean x and y of the mask, in pixels."""
        rows, columns = np.nonzero(self.mask)
        return float(columns.mean()), float(rows.mean())


@dataclass(frozen=True)
class Verdict:
    """What the judge sees in one picture, the largest object first."""

    objects: tuple[Found, ...]
    background: str
    style: str

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the objects."""
        return tuple(item.name for item in self.objects)

    def find(self, name: str) -> Found | None:
        """Return the object of that name, or None."""
        return next((item for item in self.objects if item.name == name), None)

    def mask(self, name: str) -> NDArray[np.bool_]:
        """Return the object's mask [256, 256]; empty if it is not there."""
        found = self.find(name)
        return found.mask if found else np.zeros((SIDE, SIDE), dtype=np.bool_)


def to_input(pixels: NDArray[np.uint8]) -> Tensor:
    """Turn uint8 [N, 256, 256, 3] into the net's input, float [N, 3, 128, 128] from -1 to 1."""
    signal = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    return F.avg_pool2d(signal, 2).contiguous(memory_format=torch.channels_last)


class Judge:
    """The trained net with its names and the mean colours that each object's renders have."""

    def __init__(self, net: JudgeNet, config: dict[str, Any]) -> None:
        self._net = net.eval()
        self._classes: list[str] = config["classes"]
        self._backgrounds: list[str] = config["backgrounds"]
        self._styles: list[str] = config["styles"]
        self._colours: list[str] = config["colours"]
        self._means = np.asarray(config["means"])  # [styles, classes, colours, 3]

    @classmethod
    def load(cls, folder: Path = WEIGHTS) -> "Judge":
        """Load the judge from config.json and model.safetensors."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        net = JudgeNet(
            len(config["classes"]) + 1, len(config["backgrounds"]), len(config["styles"])
        )
        weights = load_file(folder / "model.safetensors")
        net.load_state_dict({name: value.float() for name, value in weights.items()})
        return cls(net, config)

    @torch.no_grad()
    def __call__(self, images: Sequence[Image.Image | NDArray[np.uint8]]) -> list[Verdict]:
        """Judge pictures of 256x256; other sizes are brought to it first."""
        pixels = np.stack([_pixels(image) for image in images])
        verdicts: list[Verdict] = []
        for start in range(0, len(pixels), 32):
            part = pixels[start : start + 32]
            logits, places, styles = self._net(to_input(part))
            large = F.interpolate(logits, size=(SIDE, SIDE), mode="bilinear").softmax(dim=1)
            heads = zip(places.argmax(1).tolist(), styles.argmax(1).tolist(), strict=True)
            verdicts += [
                self._verdict(part[k], large[k].numpy(), place, style)
                for k, (place, style) in enumerate(heads)
            ]
        return verdicts

    def _verdict(
        self, pixels: NDArray[np.uint8], chances: NDArray[np.float32], place: int, style: int
    ) -> Verdict:
        labels = chances.argmax(axis=0)
        found = []
        for index, name in enumerate(self._classes):
            mask = labels == index + 1
            if mask.mean() < LEAST_AREA:
                continue
            confidence = float(chances[index + 1][mask].mean())
            if confidence >= LEAST_CONFIDENCE:
                colour = self._colour(pixels[mask], self._means[style, index])
                found.append(Found(name, mask, _box(mask), colour, confidence))
        found.sort(key=lambda item: -int(item.mask.sum()))
        return Verdict(tuple(found), self._backgrounds[place], self._styles[style])

    def _colour(self, pixels: NDArray[np.uint8], means: NDArray[np.float64]) -> str:
        distance = np.square(means - pixels.mean(axis=0)).sum(axis=1)
        return self._colours[int(distance.argmin())]


def _pixels(image: Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    if picture.size != (SIDE, SIDE):
        picture = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(picture.convert("RGB"))


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
