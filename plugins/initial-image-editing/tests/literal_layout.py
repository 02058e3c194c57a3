"""Layout to image written out literally: the map exists, and blocks are swapped one by one.

Plain diffusers modules, a processor that materialises every map, DDIM by hand. Nothing of
underpaint is used. `swap_by_threshold` is the paper's rule for one object; `exchange_two` is the
published code's for two.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

LENGTH = 77


def swap_by_threshold(z: torch.Tensor, map_: torch.Tensor, box: list[int], side: int):
    """Swap blocks of one latent ``[C, h, w]`` in order; `box` holds the numbers of its cells."""
    a_min = map_.flatten().sort(descending=True).values[len(box) - 1]
    inside = [n for n in box if map_.flatten()[n] < a_min]
    outside = [n for n in range(map_.numel()) if n not in box and map_.flatten()[n] >= a_min]
    assert len(inside) == len(outside)
    z = z.clone()
    columns = map_.shape[1]
    for a, b in zip(outside, inside, strict=True):
        first, second = block(z, a, columns, side), block(z, b, columns, side)
        kept = first.clone()
        first.copy_(second)
        second.copy_(kept)
    return z


def block(z: torch.Tensor, n: int, columns: int, side: int) -> torch.Tensor:
    row, column = n // columns * side, n % columns * side
    return z[:, row : row + side, column : column + side]


def exchange_two(maps: list[list[float]], boxes: list[list[int]]) -> list[set[int]]:
    """Return the cells that the published ranking picks for each of two objects."""
    shares = [[value / (sum(m) / len(m)) for value in m] for m in maps]
    cells = range(len(maps[0]))
    picked = []
    for own in (0, 1):
        other = 1 - own
        mine = [n for n in cells if shares[own][n] > shares[other][n]]
        theirs = [n for n in cells if n not in mine]
        mine.sort(key=lambda n: -shares[own][n])
        theirs.sort(key=lambda n: shares[other][n])
        picked.append(set((mine + theirs)[: len(boxes[own])]))
    return picked


class Processor:
    """Cross-attention with its map in the open and a bias on its logits."""

    def __init__(self) -> None:
        self.bias = torch.zeros(())  # [N, L]
        self.map = torch.zeros(())  # [N, L] of the last row

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
        q, k, v = (
            x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for x in (
                attn.to_q(hidden_states),
                attn.to_k(encoder_hidden_states),
                attn.to_v(encoder_hidden_states),
            )
        )
        logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5  # [R, H, N, L]
        logits[-1] += self.bias
        maps = logits.softmax(-1)
        self.map = maps[-1].mean(0)
        return attn.to_out[0]((maps @ v).transpose(1, 2).flatten(2))


class Model:
    """A checkpoint's modules and its schedule."""

    def __init__(self, folder: Path, steps: int) -> None:
        self.unet = UNet2DConditionModel.from_pretrained(folder / "unet").eval()
        self.encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.cross: dict[str, Processor] = {}
        for name, module in self.unet.named_modules():
            if name.endswith("attn2"):
                self.cross[name] = Processor()
                module.set_processor(self.cross[name])
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
        self.alphas = torch.cumprod(1 - betas, 0)
        self.times = [k * (1000 // steps) + 1 for k in range(steps)][::-1]

    def encode(self, prompt: str) -> torch.Tensor:
        texts = ["", prompt]
        ids = self.tokenizer(texts, padding="max_length", max_length=LENGTH, return_tensors="pt")
        return self.encoder(ids.input_ids)[0]

    @torch.no_grad()
    def probe(self, z: torch.Tensor, prompt: str, tokens: list[int], site: str) -> torch.Tensor:
        """Return the map of some tokens at x_T: the cond row alone."""
        self.unet(z[None], self.times[0], self.encode(prompt)[1:])
        map_ = self.cross[site].map[:, tokens].sum(1)
        side = int(map_.numel() ** 0.5)
        return map_.reshape(side, side)

    @torch.no_grad()
    def sample(self, z: torch.Tensor, prompt: str, guidance: float, bias) -> torch.Tensor:
        """Return the final latent; `bias(processor name, t)` is added to the cond row's logits."""
        context, x = self.encode(prompt), z[None]
        for t, following in zip(self.times, [*self.times[1:], 0], strict=True):
            for name, processor in self.cross.items():
                processor.bias = bias(name, t)
            a, a_next = self.alphas[t], self.alphas[following]
            e_u, e_c = self.unet(torch.cat([x, x]), t, context).sample.chunk(2)
            e = e_u + guidance * (e_c - e_u)
            x0 = (x - (1 - a).sqrt() * e) / a.sqrt()
            x = a_next.sqrt() * x0 + (1 - a_next).sqrt() * e
        return x[0]
