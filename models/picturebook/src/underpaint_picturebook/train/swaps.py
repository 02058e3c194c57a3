"""Values that stay as they are when the word for another thing is swapped.

Prompt-to-Prompt (arXiv 2208.01626) keeps attention maps and lets the values follow the new words.
In a causal text encoder every token after "cat" knows of the cat, so that "grass" has another
value in "a dog on grass", and an edit that keeps all maps still repaints the lawn. This loss draws
the *values* of all tokens together that do not name the swapped object. Their keys stay free: what
a noun says about the rest of the picture may move the maps, which is what an edit can keep.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTokenizer

from underpaint_picturebook.objects import OBJECTS
from underpaint_picturebook.palette import COLOURS

Word = tuple[int, ...]


@dataclass(frozen=True)
class Swapped:
    """Captions with one noun or colour swapped.

    `ids` [B, 77]; `places` [B, 77] is where each token of the first captions went, -1 for those
    that name the swapped object and those that were pushed out.
    """

    ids: Tensor
    places: Tensor


class Swapper:
    """Swaps one noun for another, or one colour for another, in captions of token ids."""

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        def ids(word: str) -> Word:
            return tuple(tokenizer(word, add_special_tokens=False).input_ids)

        self._kinds = [[ids(word) for word in words] for words in (OBJECTS, COLOURS)]
        self._pad = tokenizer.pad_token_id

    def __call__(
        self, ids: Tensor, tokens: Tensor, owners: Tensor, generator: torch.Generator
    ) -> Swapped:
        """Swap a word in each row of `ids` [B, 77]; rows without a name stay as they are.

        `tokens` and `owners` [B, K] are those of `Latents`.
        """
        rows = [
            self._row(*row, generator)
            for row in zip(ids.tolist(), tokens.tolist(), owners.tolist(), strict=True)
        ]
        return Swapped(torch.tensor([r for r, _ in rows]), torch.tensor([p for _, p in rows]))

    def _row(
        self, ids: list[int], tokens: list[int], owners: list[int], generator: torch.Generator
    ) -> tuple[list[int], list[int]]:
        found = [
            (place, owner, word, kind)
            for place, owner in zip(tokens, owners, strict=True)
            for kind in self._kinds
            for word in kind
            if place >= 0 and tuple(ids[place : place + len(word)]) == word
        ]
        if not found:
            return ids, list(range(len(ids)))
        start, swapped, old, kind = found[_pick(len(found), generator)]
        others = [word for word in kind if word != old]
        new = others[_pick(len(others), generator)]
        end, shift = start + len(old), len(new) - len(old)
        out = [*ids[:start], *new, *ids[end:], *[self._pad] * max(0, -shift)][: len(ids)]
        places = [*range(start), *[-1] * len(old), *range(end + shift, len(ids) + shift)]
        named = {t for t, owner in zip(tokens, owners, strict=True) if owner == swapped}
        return out, [
            -1 if k in named or place >= len(ids) else place for k, place in enumerate(places)
        ]


def _pick(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))


def value_layers(unet: UNet2DConditionModel) -> list[nn.Module]:
    """Return the value projection of every cross-attention layer, in the order of `record`."""
    names = [name.removesuffix(".processor") for name in unet.attn_processors if ".attn2." in name]
    return [unet.get_submodule(f"{name}.to_v") for name in names]


def loss(
    layers: Sequence[nn.Module],
    maps: Sequence[Tensor],
    context: Tensor,
    swapped: Tensor,
    places: Tensor,
) -> Tensor:
    """Return the mean square by which values change, as a part of their mean square.

    Every token counts by the attention that it gets: `maps` [B, H*W, 77], one a layer. `context`
    and `swapped` [B, 77, D] are the embeddings of both captions, `places` [B, 77] as in `Swapped`.
    """
    kept = (places >= 0).float()
    index = places.clamp(min=0)[..., None]
    total = context.new_zeros((), dtype=torch.float32)
    for layer, attention in zip(layers, maps, strict=True):
        value, other = layer(context).float(), layer(swapped).float()
        moved = other.gather(1, index.expand(-1, -1, other.shape[-1]))
        change = (value - moved).square().mean(-1) / value.detach().square().mean()
        total = total + (change * kept * attention.detach().mean(1)).sum(-1).mean()
    return total / len(layers)
