"""The toy engine's UNet: fixed random matrices, real attention on two levels, a mid block."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from underpaint.engine import EditInputs, UNetCall, UNetOutput
from underpaint.records import Heads
from underpaint.schedule import NoiseSchedule
from underpaint.sites import Place, Site, Sites
from underpaint.testing.toy_text import WIDTH

CHANNELS, HEADS, LATENT = 8, 2, 4

_BLOCKS: tuple[tuple[str, Place, int], ...] = (
    ("down_blocks.0", "down", 0),
    ("down_blocks.1", "down", 1),
    ("up_blocks.0", "up", 1),
    ("up_blocks.1", "up", 0),
)
MID = Site("mid_block", "activation", "mid", 1, 0, CHANNELS)


def sites() -> Sites:
    """Return the sites in call order: self and cross attention in four blocks, the mid block."""
    blocks = [
        (Site(f"{name}.attn1", "self", place, level, HEADS, CHANNELS),
         Site(f"{name}.attn2", "cross", place, level, HEADS, CHANNELS))
        for name, place, level in _BLOCKS
    ]  # fmt: skip
    down, up = blocks[:2], blocks[2:]
    return Sites((*sum(down, ()), MID, *sum(up, ())), word_level=1)


class ToyUNet:
    """A denoiser that bounds its x0, so that every run ends in a picture."""

    def __init__(self, noise: NoiseSchedule) -> None:
        generator = torch.Generator().manual_seed(0)

        def matrix(rows: int, columns: int) -> Tensor:
            return torch.randn(rows, columns, generator=generator) / math.sqrt(rows)

        self.noise = noise
        self.alphas = torch.tensor(noise.alphas)
        self.enter, self.leave = matrix(LATENT, CHANNELS), matrix(CHANNELS, LATENT)
        self.mid = matrix(CHANNELS, CHANNELS)
        self.projections = {
            site.name: [matrix(CHANNELS, CHANNELS) * 2]
            + [matrix(WIDTH if site.kind == "cross" else CHANNELS, CHANNELS) for _ in "kv"]
            for site in sites().all
            if site.kind != "activation"
        }

    def __call__(self, call: UNetCall) -> UNetOutput:
        """Return the raw output, the maps and the features of a batch."""
        pass_ = _Pass(self, call)
        alpha = self.alphas[call.timestep].reshape(-1, 1, 1, 1)
        height, width = call.sample.shape[-2:]
        hidden = call.sample.flatten(2).transpose(1, 2) @ self.enter  # [R, N, C']
        hidden = pass_.block("down_blocks.0", hidden + alpha.reshape(-1, 1, 1))
        small = _grid(hidden, height, width)
        small = F.avg_pool2d(small, 2).flatten(2).transpose(1, 2)
        small = pass_.block("down_blocks.1", small)
        middle = _grid(torch.tanh(_normed(small) @ self.mid), height // 2, width // 2)
        if call.hidden_delta is not None:
            middle = middle + call.hidden_delta
        small = pass_.block("up_blocks.0", small + middle.flatten(2).transpose(1, 2))
        large = F.interpolate(_grid(small, height // 2, width // 2), scale_factor=2.0)
        hidden = pass_.block("up_blocks.1", hidden + large.flatten(2).transpose(1, 2))
        x0 = torch.tanh(_grid(_normed(hidden) @ self.leave, height, width))
        features = {MID.name: middle} if MID.name in call.features else {}
        return UNetOutput(self._output(call.sample, x0, alpha), pass_.maps, features)

    def _output(self, sample: Tensor, x0: Tensor, alpha: Tensor) -> Tensor:
        noise = (sample - alpha.sqrt() * x0) / (1 - alpha).sqrt()
        if self.noise.prediction_type == "v_prediction":
            return alpha.sqrt() * noise - (1 - alpha).sqrt() * x0
        return noise if self.noise.prediction_type == "epsilon" else x0


class _Pass:
    """One batch on its way through the attention layers."""

    def __init__(self, unet: ToyUNet, call: UNetCall) -> None:
        self.unet, self.call = unet, call
        self.maps: dict[str, Tensor] = {}
        self.self_sites = 0

    def block(self, name: str, hidden: Tensor) -> Tensor:
        """Add self-attention, then cross-attention, to ``[R, N, C]``."""
        hidden = hidden + self._self(f"{name}.attn1", _normed(hidden))
        return hidden + self._cross(f"{name}.attn2", _normed(hidden))

    def _self(self, name: str, hidden: Tensor) -> Tensor:
        query, key, value = self._project(name, hidden, hidden)
        self._keep(name, query, key)
        edits, number = self.call.edits, self.self_sites
        self.self_sites += 1
        if edits is not None:
            query = _from_source(query, edits.self_q[number], edits)
            key = _from_source(key, edits.self_k[number], edits)
            value = _from_source(value, edits.self_v[number], edits)
        return _merge(_probabilities(query, key) @ value)

    def _cross(self, name: str, hidden: Tensor) -> Tensor:
        query, key, value = self._project(name, hidden, self.call.context)
        edits = self.call.edits
        bias = None if edits is None else edits.cross_bias.get(name)
        self._keep(name, query, key, bias)
        maps = _probabilities(query, key, bias)  # [R, H, N, L]
        if edits is not None:
            source = maps[edits.source_row]
            maps = maps * edits.cross_scale[:, None, None] + source @ edits.cross_map[:, None]
        return _merge(maps @ value)

    def _project(self, name: str, hidden: Tensor, context: Tensor) -> list[Tensor]:
        inputs = (hidden, context, context)
        matrices = self.unet.projections[name]
        return [
            (x @ m).reshape(*x.shape[:2], HEADS, -1).transpose(1, 2)
            for x, m in zip(inputs, matrices, strict=True)
        ]  # [R, H, N or L, C / H]

    def _keep(self, name: str, query: Tensor, key: Tensor, bias: Tensor | None = None) -> None:
        heads: Heads | None = self.call.maps.get(name)
        if heads is not None:
            maps = _probabilities(query, key, bias)
            self.maps[name] = maps if heads == "all" else maps.mean(1, keepdim=True)


def _probabilities(query: Tensor, key: Tensor, bias: Tensor | None = None) -> Tensor:
    logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    return (logits if bias is None else logits + bias[:, None]).softmax(-1)


def _from_source(value: Tensor, gate: Tensor, edits: EditInputs) -> Tensor:
    return torch.where(gate[:, None, None, None], value[edits.source_row], value)


def _normed(value: Tensor) -> Tensor:
    return value * torch.rsqrt(value.square().mean(-1, keepdim=True) + 1)


def _merge(value: Tensor) -> Tensor:
    return value.transpose(1, 2).flatten(2)  # [R, H, N, c] -> [R, N, C]


def _grid(value: Tensor, height: int, width: int) -> Tensor:
    rows, _, channels = value.shape
    return value.transpose(1, 2).reshape(rows, channels, height, width)
