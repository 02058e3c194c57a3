"""Train the judge on renders, blurred, dimmed and made noisy so that it is fair to samples."""

import json
import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from underpaint_picturebook import world
from underpaint_picturebook.backgrounds import BACKGROUNDS, SIDE
from underpaint_picturebook.judge import OUTPUT_SIDE, JudgeNet, to_input
from underpaint_picturebook.objects import OBJECTS
from underpaint_picturebook.palette import COLOURS
from underpaint_picturebook.styles import STYLES
from underpaint_picturebook.train import precision
from underpaint_picturebook.train.data import Renders

NAMES = list(OBJECTS)
PLACES = list(BACKGROUNDS)
LOOKS = ["none", *STYLES]


def mean_colours() -> NDArray[np.float64]:
    """Return the mean colour of each object's renders: [styles, objects, colours, 3]."""
    rng = random.Random(0)  # noqa: S311 - no secret
    means = np.zeros((len(LOOKS), len(NAMES), len(COLOURS), 3))
    for where in np.ndindex(means.shape[:3]):
        look, name, colour = LOOKS[where[0]], NAMES[where[1]], list(COLOURS)[where[2]]
        item = world.Placed(name, colour, 0.5, 0.5, 0.3)
        image, marks = world.render((item,), "plain", look, 0.5, rng)
        means[where] = image[marks > 0].mean(axis=0)
    return means


def spoil(signal: Tensor, generator: torch.Generator) -> Tensor:
    """Blur half of the pictures [B, 3, 128, 128], and change light and add noise to all."""
    count = len(signal)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand((count, 1, 1, 1), generator=generator)

    soft = F.avg_pool2d(F.pad(signal, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    signal = torch.where(uniform(0, 1) < 0.5, signal, soft)
    signal = signal * uniform(0.85, 1.1) + uniform(-0.08, 0.08)
    noise = torch.randn(signal.shape, generator=generator)
    patches = F.interpolate(torch.randn((count, 3, 16, 16), generator=generator), scale_factor=8.0)
    return signal + uniform(0, 0.08) * noise + uniform(0, 0.06) * patches


class JudgeTrainer:
    """Cross-entropy on pixels, with smaller shares for background and style."""

    def __init__(self, data: Renders, device: str, batch: int = 32) -> None:
        self.net = JudgeNet(len(NAMES) + 1, len(PLACES), len(LOOKS)).to(device)
        self.modules: nn.Module = nn.ModuleDict({"net": self.net})
        self.modules.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._data, self._device, self._batch = data, device, batch
        self._classes = torch.tensor([
            ([0] + [NAMES.index(item["name"]) + 1 for item in truth["objects"]] + [0] * 3)[:4]
            for truth in data.truth
        ])  # fmt: skip
        self._places = torch.tensor([PLACES.index(item["background"]) for item in data.truth])
        self._looks = torch.tensor([LOOKS.index(item["style"]) for item in data.truth])

    def losses(self, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Judge a batch of spoilt renders."""
        picks = torch.randint(len(self._places), (self._batch,), generator=generator)
        order = picks.numpy()
        signal = spoil(to_input(self._data.images[order]), generator).to(self._device)
        step = SIDE // OUTPUT_SIDE
        marks = torch.from_numpy(self._data.marks[order][:, step // 2 :: step, step // 2 :: step])
        target = self._classes[picks][torch.arange(len(picks))[:, None, None], marks.long()]
        with precision.autocast(self._device):
            pixel, place, look = self.net(signal.contiguous(memory_format=torch.channels_last))
        where = F.cross_entropy(pixel.float(), target.to(self._device))
        what = F.cross_entropy(place.float(), self._places[picks].to(self._device))
        how = F.cross_entropy(look.float(), self._looks[picks].to(self._device))
        return {
            "loss": where + 0.1 * (what + how),
            "pixel": where,
            "background": what,
            "style": how,
        }

    def sheet(self, average: nn.Module, file: Path) -> None:
        """Save eight renders above the classes seen in them, as shades of grey."""
        pixels = self._data.images[:8]
        with torch.no_grad():
            logits = average.net(to_input(pixels).to(self._device))[0]  # type: ignore[operator]
        shades = (logits.argmax(dim=1) * (255 // len(NAMES))).byte().cpu().numpy()
        large = shades.repeat(4, axis=1).repeat(4, axis=2)[..., None].repeat(3, axis=3)
        rows = [np.concatenate(list(half), axis=1) for half in (pixels, large)]
        Image.fromarray(np.concatenate(rows)).save(file)


def export(net: nn.Module, folder: Path) -> None:
    """Write the judge as fp16 safetensors and config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.half().contiguous() for name, value in net.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    config = {
        "classes": NAMES,
        "backgrounds": PLACES,
        "styles": LOOKS,
        "colours": list(COLOURS),
        "means": mean_colours().round(1).tolist(),
    }
    (folder / "config.json").write_text(json.dumps(config) + "\n", encoding="utf-8")
