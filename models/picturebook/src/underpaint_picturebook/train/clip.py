"""Train CLIP on renders: contrastive loss between pictures and texts true of them.

Each picture meets two texts, all that is known of it and a part of that, and the words for every
object, colour, ground and style. A text that also holds of another picture is no negative there.
A classifier of each patch, dropped after training, makes the features of places mean something
early. Only some of the patches are seen at a time, which halves the cost (arXiv 2212.00794).
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer
from underpaint_engines.scorer import normalise

from underpaint_picturebook.backgrounds import SIDE
from underpaint_picturebook.judge import to_input
from underpaint_picturebook.objects import OBJECTS
from underpaint_picturebook.palette import COLOURS
from underpaint_picturebook.parts import CLIP_PATCH, CLIP_SIDE
from underpaint_picturebook.train import precision
from underpaint_picturebook.train.data import FIRST_TEST_SEED, Renders
from underpaint_picturebook.train.judge import spoil
from underpaint_picturebook.train.views import View, blur, view
from underpaint_picturebook.train.wordings import Facts, facts, lexicon, shorten, whole, write
from underpaint_picturebook.world import scene

PATCH = 0.5
"""Weight of the patches' classification."""
SHARPEST = 100.0
"""Greatest factor between cosines and logits, as in CLIP."""


class ClipTrainer:
    """The contrastive losses over texts, and the patches' classification.

    `patches` is the share of a picture's patches seen in training.
    """

    def __init__(
        self,
        data: Renders,
        clip: CLIPModel,
        tokenizer: CLIPTokenizer,
        *,
        device: str,
        batch: int = 128,
        patches: float = 0.5,
    ) -> None:
        width = clip.config.vision_config.hidden_size
        heads = nn.ModuleDict(
            {
                "class": nn.Linear(width, len(OBJECTS) + 1),
                "colour": nn.Linear(width, len(COLOURS) + 1),
            }
        )
        if device == "cpu":  # where the backward pass of fused attention is twice as slow
            clip.set_attn_implementation("eager")
        self.modules: nn.Module = nn.ModuleDict({"clip": clip, "heads": heads}).to(device)
        self._clip, self._heads = clip, heads
        self._data, self._tokenizer = data, tokenizer
        self._device, self._batch, self._patches = device, batch, patches
        self._lexicon = lexicon()
        self._facts = [facts(whole(truth)) for truth in data.truth]
        self._classes = _table(data, "name", list(OBJECTS))
        self._colours = _table(data, "colour", list(COLOURS))

    def losses(self, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Compare a batch of pictures with the texts of all of them."""
        picks = torch.randint(len(self._facts), (self._batch,), generator=generator).tolist()
        rng = random.Random(int(torch.randint(2**31, (), generator=generator)))  # noqa: S311
        data = self._data
        views = [view(data.images[k], data.marks[k], data.truth[k], rng) for k in picks]
        told = [
            [write(each.telling, rng) for each in views],
            [write(shorten(each.telling, rng), rng) for each in views],
            [write(telling, rng) for telling in self._lexicon],
        ]
        seen = torch.randperm((CLIP_SIDE // CLIP_PATCH) ** 2, generator=generator)
        seen = seen[: round(self._patches * len(seen))].sort().values
        with precision.autocast(self._device):
            hidden = look(self._clip, self._signal(views, generator), seen)
            images = image_features(self._clip, hidden).float()
            texts = [
                text_features(self._clip, self._tokenizer, [each.text for each in half]).float()
                for half in told
            ]
            patch = self._patch_loss(hidden[:, 1:], views, picks, seen)
        scale = self._clip.logit_scale.exp().clamp(max=SHARPEST)
        shown = [self._facts[k] for k in picks]
        logits = [scale * images @ text.T for text in texts]
        holds = [true_of(shown, [each.facts for each in some]) for some in told]
        seeable = true_of([facts(each.telling) for each in views], [e.facts for e in told[2]])
        full, part = (contrast(logits[k], holds[k]) for k in (0, 1))
        words = classify(logits[2], holds[2], seeable)
        return {
            "loss": full + part + words + PATCH * patch,
            "full": full,
            "part": part,
            "words": words,
            "patch": patch,
            "scale": scale,
        }

    def _signal(self, views: Sequence[View], generator: torch.Generator) -> Tensor:
        signal = blur(to_input(np.stack([each.image for each in views])), generator)
        return normalise(spoil(signal, generator) / 2 + 0.5).to(self._device)

    def _patch_loss(
        self, hidden: Tensor, views: Sequence[View], picks: list[int], seen: Tensor
    ) -> Tensor:
        """Return the cross-entropy of what stands in the middle of each patch, and its colour."""
        step = SIDE * CLIP_PATCH // CLIP_SIDE
        middles = slice(step // 2, None, step)
        marks = np.stack([each.marks[middles, middles] for each in views])
        owners = torch.from_numpy(marks).long().flatten(1)[:, seen]
        total = hidden.new_zeros((), dtype=torch.float32)
        for name, table in (("class", self._classes), ("colour", self._colours)):
            target = table[picks].gather(1, owners).to(self._device)
            logits = self._heads[name](hidden).float()
            total = total + F.cross_entropy(logits.flatten(0, 1), target.flatten())
        return total

    def sheet(self, average: nn.Module, file: Path) -> None:
        """Save unseen renders above the cosines of each with every caption: a bright diagonal."""
        made = [scene(FIRST_TEST_SEED + k) for k in range(16)]
        pixels = np.stack([item.image for item in made])
        everything = torch.arange((CLIP_SIDE // CLIP_PATCH) ** 2)
        with torch.no_grad():
            hidden = look(
                average.clip, normalise(to_input(pixels) / 2 + 0.5).to(self._device), everything
            )
            images = image_features(average.clip, hidden)
            texts = text_features(average.clip, self._tokenizer, [item.caption for item in made])
        cosines = (texts @ images.T).clamp(0, 1).mul(255).byte().cpu().numpy()
        cells = cosines.repeat(64, axis=1).repeat(24, axis=0)[..., None].repeat(3, axis=2)
        row = np.concatenate(list(pixels[:, ::4, ::4]), axis=1)
        Image.fromarray(np.concatenate([row, cells])).save(file)


def _table(data: Renders, key: str, names: list[str]) -> Tensor:
    """Return the class of every mark of every scene: [N, 4], 0 for the background."""
    return torch.tensor([
        ([0] + [names.index(item[key]) + 1 for item in truth["objects"]] + [0] * 3)[:4]
        for truth in data.truth
    ])  # fmt: skip


def look(clip: CLIPModel, pixels: Tensor, seen: Tensor) -> Tensor:
    """Return the last hidden states [B, 1 + K, W] of [CLS] and of the K patches `seen`."""
    vision = clip.vision_model
    tokens = vision.embeddings(pixels)
    kept = torch.cat([tokens[:, :1], tokens[:, 1:][:, seen.to(tokens.device)]], dim=1)
    hidden: Tensor = vision.encoder(inputs_embeds=vision.pre_layrnorm(kept)).last_hidden_state
    return hidden


def image_features(clip: CLIPModel, hidden: Tensor) -> Tensor:
    """Return unit features [B, D] of the hidden states of `look`."""
    pooled = clip.vision_model.post_layernorm(hidden[:, 0])
    return F.normalize(clip.visual_projection(pooled), dim=-1)


def text_features(clip: CLIPModel, tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Return unit features [B, D] of texts; one that is too long is cut."""
    encoded = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
    ids = encoded.input_ids.to(clip.device)
    # Attention is causal and the first end is read, so what pads a text is never seen.
    pooled = clip.text_model(input_ids=ids).pooler_output
    return F.normalize(clip.text_projection(pooled), dim=-1)


def true_of(shown: Sequence[Facts], told: Sequence[Facts]) -> Tensor:
    """Say which texts hold of which pictures: bool [B, T], a row a picture."""
    return torch.tensor([[text <= picture for text in told] for picture in shown])


def contrast(logits: Tensor, true: Tensor) -> Tensor:
    """Return CLIP's loss over logits [B, B], a row a picture, whose own texts are the diagonal.

    Other pairs that are `true` count neither way.
    """
    own = torch.arange(len(logits), device=logits.device)
    others = true.to(logits.device) & (own[:, None] != own)
    kept = logits.masked_fill(others, float("-inf"))
    return (F.cross_entropy(kept, own) + F.cross_entropy(kept.T, own)) / 2


def classify(logits: Tensor, true: Tensor, seeable: Tensor) -> Tensor:
    """Return the cross-entropy of each `seeable` text of a picture against those that are not true.

    `logits`, `true` and `seeable` [B, T]; true texts of what a mask hides count neither way.
    """
    false = logits.masked_fill(true.to(logits.device), float("-inf")).logsumexp(1, keepdim=True)
    weight = seeable.to(logits.device).float()
    return (F.softplus(false - logits) * weight).sum() / weight.sum()


def export(clip: CLIPModel, folder: Path) -> None:
    """Write CLIP as config.json and fp16 safetensors."""
    clip.half().save_pretrained(folder)
