"""One run: the images that are denoised together, and the services that plugins may use."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from underpaint.engine import Engine
from underpaint.errors import NotOfferedError
from underpaint.layout import Layout
from underpaint.records import Branch, Conditioning, Move, Needs
from underpaint.request import Request
from underpaint.tokens import Tokens

if TYPE_CHECKING:
    from underpaint.outputs import Outputs
    from underpaint.step import Step


class Scorer(Protocol):
    """Image and text features in PyTorch, for ranking, directional losses and ViT guidance.

    Images ``[B, 3, H, W]`` are floats around [0, 1], of any size.
    """

    def image_features(self, images: Tensor) -> Tensor:
        """Return unit features ``[B, D]``; differentiable."""

    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """Return unit features ``[B, D]``."""

    def vit_features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last block's keys ``[B, N, D']`` and [CLS] ``[B, D']``; differentiable.

        The first key is [CLS]'s own, then the patches' row by row.
        """

    def distance(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the perceptual distance ``[B]`` of images, 0 for equal ones; differentiable."""


@dataclass(eq=False)
class Run:
    """What hooks see of a run. Plugins read it, report to it, and never change it.

    Attributes
    ----------
    request : the part of the call that this run serves.
    branches : all branches, the main one first.
    layout : which row is which image, branch and half.
    needs : the union of what the plugins need.
    moves, conditioning : set once by their hooks before the first step.
    combiner : the hook `combine` of the run's plugins; see `Step.combine`.
    reports : per-image values that plugins hand to the result.
    warnings : messages for the user.
    """

    request: Request
    engine: Engine
    branches: tuple[Branch, ...]
    layout: Layout
    needs: Needs
    scorer_model: Scorer | None = None
    moves: tuple[Move, ...] = ()
    conditioning: Conditioning = field(default_factory=lambda: Conditioning({}))
    combiner: Callable[[Step, Outputs], Tensor] | None = None
    reports: dict[str, list[object]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def branch(self, name: str) -> Branch:
        """Return a branch by name."""
        return self.branches[self.layout.branches.index(name)]

    def prompts(self, branch: str) -> tuple[str, ...]:
        """Return the prompt of a branch for each image."""
        own = self.branch(branch).prompt
        return self.request.prompts if own is None else (own,) * self.request.images

    def negative_prompts(self, branch: str) -> tuple[str, ...]:
        """Return the negative prompt of a branch for each image."""
        own = self.branch(branch).negative_prompt
        return self.request.negative_prompts if own is None else (own,) * self.request.images

    def guidance_scale(self, branch: str) -> float:
        """Return the classifier-free-guidance scale of a branch."""
        own = self.branch(branch).guidance_scale
        return self.request.guidance_scale if own is None else own

    def alpha(self, t: int) -> float:
        """Return alphas_cumprod at level `t`; -1 is the clean end."""
        return self.request.model.noise.alpha(t)

    def tokens(self, prompts: Sequence[str]) -> list[Tokens]:
        """Tokenise prompts; each token knows its span of characters."""
        return self.engine.tokenize(prompts)

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return text embeddings ``[B, L, d]``; a prompt that does not fit leaves a warning."""
        tokens = self.tokens(prompts)
        for token in tokens:
            if token.dropped:
                self.warn(
                    f"The prompt has more than {len(token.ids)} tokens; the model does not see "
                    f"its end: {token.dropped!r}. Shorten the prompt."
                )
        return self.engine.encode_text(tokens)

    def encode_image(self, images: Tensor) -> Tensor:
        """Return latents of images ``[B, 3, H, W]`` in [0, 1]."""
        return self.engine.encode_image(images)

    def decode(self, latents: Tensor) -> Tensor:
        """Return images around [0, 1]; differentiable where `latents` requires a gradient."""
        return self.engine.decode_latents(latents)

    def decoder(self) -> nn.Module:
        """Return a copy of the decoder whose weights may be optimised; see `Engine.decoder`."""
        return self.engine.decoder()

    @property
    def scorer(self) -> Scorer:
        """The model's CLIP and ViT features.

        Raises
        ------
        NotOfferedError
            If neither the pipeline nor the model's checkpoint has one.
        """
        found = self.scorer_model or self.engine.scorer()
        if found is None:
            raise NotOfferedError(
                f"Model {self.request.model.name!r} has no scorer. Save a transformers CLIPModel "
                "with the same tokenizer (for Stable Diffusion 1.x openai/clip-vit-large-patch14) "
                "into the folder clip of its checkpoint, and load that rather than a bundle; or "
                "pass Pipeline(engine, scorer=...) an object with CLIP and ViT features."
            )
        return found

    def load_scorer(self, folder: Path) -> Scorer:
        """Return the features of a folder: transformers' CLIPModel with its tokenizer, or a ViT.

        A ViT, such as DINO, has keys and [CLS] alone; see `Engine.load_scorer`.
        """
        return self.engine.load_scorer(folder.expanduser().resolve())

    def randn(self, key: str, step: int = 0) -> Tensor:
        """Return noise ``[I, C, h, w]`` keyed by seed, `key` and `step`; never by batch."""
        return torch.stack(
            [
                torch.randn(self.request.latent_shape, generator=_generator(seed, key, step))
                for seed in self.request.seeds
            ]
        ).to(self.engine.device)

    def report(self, name: str, values: Sequence[object]) -> None:
        """Hand one value per image to the result, as ``result.reports[name]``."""
        if len(values) != self.request.images:
            raise ValueError(
                f"report({name!r}): {len(values)} values, {self.request.images} images."
            )
        self.reports[name] = list(values)

    def warn(self, message: str) -> None:
        """Add a warning to the result, once."""
        if message not in self.warnings:
            self.warnings.append(message)


def seed_noise(seed: int, shape: tuple[int, ...]) -> Tensor:
    """Return x_T of a seed: what diffusers draws from a CPU generator with that seed."""
    return torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))


def _generator(seed: int, key: str, step: int) -> torch.Generator:
    digest = hashlib.blake2b(f"{seed}/{key}/{step}".encode(), digest_size=8).digest()
    return torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)
