"""Prompt-to-Prompt written out literally: every map exists, and is edited as the paper says.

Plain diffusers modules, processors that materialise the maps, DDIM by hand. Nothing of underpaint
is used, and rows, steps and tokens are counted as in the paper: source first, targets after it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

LENGTH = 77


@dataclass
class Literal:
    """One edit: B prompts, of which the first is the source."""

    prompts: list[str]
    kind: str
    steps: int = 10
    guidance: float = 7.5
    cross: dict[str, tuple[float, float]] = field(default_factory=lambda: {"": (0.0, 0.8)})
    self_window: tuple[float, float] = (0.0, 0.4)
    self_side: int = 4
    weights: dict[str, float] = field(default_factory=dict)
    blend_words: list[list[str]] | None = None
    blend_side: int = 4
    blend_threshold: float = 0.3
    blend_start: float = 0.2
    subtract_words: list[list[str]] | None = None
    subtract_threshold: float = 0.3
    prediction: str = "epsilon"


class Tokenised:
    """Ids of a prompt, and the tokens of its words by walking along their letters."""

    def __init__(self, tokenizer: CLIPTokenizer, prompt: str) -> None:
        self.content = tokenizer(prompt, add_special_tokens=False).input_ids
        self.ids = [tokenizer.bos_token_id, *self.content, tokenizer.eos_token_id]
        self.padded = self.ids + [tokenizer.pad_token_id] * (LENGTH - len(self.ids))
        self.words = prompt.split(" ")
        self.tokens_of: list[list[int]] = []
        token = 1
        raw = tokenizer.convert_ids_to_tokens(self.content)
        pieces = [piece.removesuffix("</w>") for piece in raw]
        for word in self.words:
            start = token
            while sum(map(len, pieces[start - 1 : token - 1])) < len(word):
                token += 1
            self.tokens_of.append(list(range(start, token)))

    def where(self, word: str) -> list[int]:
        return [
            t for w, own in zip(self.words, self.tokens_of, strict=True) if w == word for t in own
        ]


def replace_map(source: Tokenised, target: Tokenised) -> torch.Tensor:
    """M[i, j], walked along both prompts, with the tail of the source kept in step."""
    m = torch.zeros(LENGTH, LENGTH)
    m[0, 0] = 1
    for s, t in zip(source.tokens_of, target.tokens_of, strict=True):
        for a, i in enumerate(s):
            for b, j in enumerate(t):
                if len(s) == len(t):
                    m[i, j] = 1.0 if a == b else 0.0
                else:
                    m[i, j] = 1.0 / len(t)
    m[len(source.ids) - 1, len(target.ids) - 1] = 1
    for j in range(max(len(source.ids), len(target.ids)), LENGTH):
        m[j, j] = 1
    return m


def refine_index(source: Tokenised, target: Tokenised) -> tuple[torch.Tensor, torch.Tensor]:
    """Index of each target token's source token (-1: none), and gamma, by Needleman-Wunsch."""
    a, b = source.ids, target.ids
    table = torch.zeros(len(a) + 1, len(b) + 1)
    came_from = {}
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            options = [
                (table[i, j - 1], "insert"),
                (table[i - 1, j], "delete"),
                (table[i - 1, j - 1] + (1 if a[i - 1] == b[j - 1] else -1), "match"),
            ]
            best = max(value for value, _ in options)
            table[i, j] = best
            came_from[i, j] = next(name for value, name in options if value == best)
    index = torch.full((LENGTH,), -1)
    i, j = len(a), len(b)
    while i > 0 and j > 0:
        move = came_from[i, j]
        if move == "match":
            i, j = i - 1, j - 1
            index[j] = i
        elif move == "insert":
            j -= 1
        else:
            i -= 1
    for j in range(max(len(a), len(b)), LENGTH):
        index[j] = j
    return index, (index >= 0).float()


class Editor:
    """What all attention layers of one run share."""

    def __init__(self, spec: Literal, tokens: list[Tokenised]) -> None:
        self.spec, self.tokens, self.step = spec, tokens, 0
        self.stored: list[torch.Tensor] = []
        self.sums: list[torch.Tensor] | None = None
        self.mask: torch.Tensor | None = None

    def cross(self, maps: torch.Tensor) -> torch.Tensor:
        """Edit the cond rows' maps ``[B, H, N, 77]``."""
        out = [maps[0]]
        for b in range(1, len(maps)):
            source, target = self.tokens[0], self.tokens[b]
            if self.spec.kind == "replace":
                m = replace_map(source, target)
                new = torch.einsum("hni,ij->hnj", maps[0], m)
                # A column that no source token maps to keeps the target's own.
                new = torch.where(m.sum(0) > 0, new, maps[b])
            elif self.spec.kind == "refine":
                index, gamma = refine_index(source, target)
                new = maps[0][:, :, index] * gamma + maps[b] * (1 - gamma)
            else:
                new = maps[0]
            for word, weight in self.spec.weights.items():
                new = new.clone()
                new[:, :, target.where(word)] *= weight
            alpha = torch.tensor([self.inside(window) for window in self.token_windows(target)])
            out.append(alpha * new + (1 - alpha) * maps[b])
        return torch.stack(out)

    def self_attention(self, maps: torch.Tensor) -> torch.Tensor:
        small = maps.shape[-2] <= self.spec.self_side**2
        if small and self.inside(self.spec.self_window):
            return maps[:1].expand_as(maps)
        return maps

    def token_windows(self, target: Tokenised) -> list[tuple[float, float]]:
        windows = [self.spec.cross.get("", (0.0, 1.0))] * LENGTH
        for word, window in self.spec.cross.items():
            for j in target.where(word) if word else []:
                windows[j] = window
        return windows

    def inside(self, window: tuple[float, float]) -> float:
        first, last = (round(edge * self.spec.steps) for edge in window)
        return float(first <= self.step < last)

    def end_step(self, x: torch.Tensor) -> torch.Tensor:
        spec = self.spec
        self.sums = (
            self.stored
            if self.sums is None
            else [a + b for a, b in zip(self.sums, self.stored, strict=True)]
        )
        self.stored = []
        if spec.blend_words is not None and self.step >= round(spec.blend_start * spec.steps):
            mask = self.places(spec.blend_words, spec.blend_threshold, True, x.shape[-1])
            if spec.subtract_words is not None:
                taken = self.places(
                    spec.subtract_words, spec.subtract_threshold, False, x.shape[-1]
                )
                mask = mask & ~taken
            self.mask = mask
            x = x[:1] + mask.float() * (x - x[:1])
        self.step += 1
        return x

    def places(self, words: list[list[str]], threshold: float, pool: bool, side: int):
        small = self.spec.blend_side
        stack = torch.cat(
            [s.unflatten(2, (small, small)) for s in self.sums], 1
        )  # [B, 5H, r, c, 77]
        pictures = []
        for b, own in enumerate(words):
            chosen = [j for word in own for j in self.tokens[b].where(word)]
            picture = stack[b][..., chosen].sum(-1).mean(0)[None, None]
            if pool:
                picture = F.max_pool2d(picture, 3, 1, 1)
            picture = picture.repeat_interleave(side // small, 2).repeat_interleave(
                side // small, 3
            )
            pictures.append(picture[0] / picture.max() > threshold if chosen else picture[0] > 1e9)
        masks = torch.stack(pictures)
        return masks[:1] | masks


class Processor:
    """Attention with its map in the open."""

    def __init__(self, editor: Editor, stores: bool) -> None:
        self.editor, self.stores = editor, stores

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
        cross = encoder_hidden_states is not None
        context = encoder_hidden_states if cross else hidden_states
        q, k, v = (
            x.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        )
        maps = torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1)  # [2B, H, N, K]
        uncond, cond = maps.chunk(2)
        cond = self.editor.cross(cond) if cross else self.editor.self_attention(cond)
        side = self.editor.spec.blend_side
        if cross and self.stores and cond.shape[2] == side**2:
            self.editor.stored.append(cond)
        out = torch.cat([uncond, cond]) @ v
        return attn.to_out[0](out.transpose(1, 2).flatten(2))


@torch.no_grad()
def run(folder: Path, spec: Literal, noise: torch.Tensor) -> tuple[torch.Tensor, Editor]:
    """Return the final latents ``[B, 4, h, w]`` of all prompts from one x_T ``[4, h, w]``."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet").eval()
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder").eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    tokens = [Tokenised(tokenizer, prompt) for prompt in spec.prompts]
    editor = Editor(spec, tokens)
    for name, module in unet.named_modules():
        if name.endswith(("attn1", "attn2")):
            module.set_processor(Processor(editor, stores=not name.startswith("mid")))
    empty = Tokenised(tokenizer, "").padded
    ids = torch.tensor([empty] * len(tokens) + [t.padded for t in tokens])
    context = encoder(ids)[0]

    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alphas = torch.cumprod(1 - betas, 0)
    times = [k * (1000 // spec.steps) + 1 for k in range(spec.steps)][::-1]
    x = noise[None].expand(len(tokens), -1, -1, -1)
    for t, following in zip(times, [*times[1:], -1], strict=True):
        a, a_next = alphas[t], alphas[max(following, 0)]
        model = unet(torch.cat([x, x]), t, context).sample
        e_u, e_c = model.chunk(2)
        if spec.prediction == "v_prediction":
            e_u, e_c = (a.sqrt() * v + (1 - a).sqrt() * x for v in (e_u, e_c))
        e = e_u + spec.guidance * (e_c - e_u)
        x0 = (x - (1 - a).sqrt() * e) / a.sqrt()
        x = a_next.sqrt() * x0 + (1 - a_next).sqrt() * e
        x = editor.end_step(x)
    return x, editor
