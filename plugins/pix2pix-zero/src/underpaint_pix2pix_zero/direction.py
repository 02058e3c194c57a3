"""An edit direction: the difference of two banks' mean embeddings (arXiv 2302.03027, 3.1)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor
from underpaint.commands.files import write_all
from underpaint.engine import ModelInfo
from underpaint.errors import InvalidRequestError, NonFiniteError
from underpaint.records import check_finite

BATCH = 16
"""Sentences that are encoded together."""

Encode = Callable[[Sequence[str]], Tensor]
"""Maps texts to embeddings ``[B, L, d]``."""


class UnusableDirectionError(InvalidRequestError):
    """A direction's file is missing or corrupt, or it was made with another model."""


class DirectionFacts(BaseModel):
    """What a direction was made of; the header of its file.

    Attributes
    ----------
    model, model_digest : the model whose text encoder it belongs to.
    source, target : what it leads from and to, in words.
    sentences : number of the sentences of each bank.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["underpaint-pix2pix-zero-1"] = "underpaint-pix2pix-zero-1"
    model: str
    model_digest: str
    source: str
    target: str
    sentences: tuple[int, int] = Field((1, 1))


@dataclass(frozen=True, eq=False)
class Direction:
    """Two banks' means, ``[L, d]`` fp32 each, and their facts."""

    facts: DirectionFacts
    source: Tensor
    target: Tensor

    @property
    def difference(self) -> Tensor:
        """What is added to a prompt's embedding, ``[L, d]``: all positions, unscaled."""
        return self.target - self.source

    @classmethod
    def load(cls, path: Path) -> Direction:
        """Read what `save` wrote.

        Raises
        ------
        UnusableDirectionError
            If the file is missing, corrupt, or holds no direction.
        """
        try:
            with safe_open(path.expanduser(), framework="pt") as file:
                header = json.loads((file.metadata() or {}).get("underpaint", "{}"))
                source, target = (
                    check_finite(name, file.get_tensor(name)) for name in ("source", "target")
                )
            facts = DirectionFacts.model_validate(header)
        except (OSError, SafetensorError, NonFiniteError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UnusableDirectionError(
                f"{path} is no direction that can be read ({reason}). Give a file that "
                "`underpaint pix2pix-zero direction` wrote."
            ) from error
        return cls(facts, source, target)

    def save(self, path: Path) -> None:
        """Write a safetensors file, whole or not at all.

        Raises
        ------
        InvalidRequestError
            If the system refuses, with its reason.
        """
        means = {"source": self.source, "target": self.target}
        tensors = {name: mean.cpu().contiguous() for name, mean in means.items()}
        header = {"underpaint": self.facts.model_dump_json()}
        write_all({path: bytes(to_bytes(tensors, header))})

    def check(self, path: str, model: ModelInfo) -> None:
        """Raise UnusableDirectionError if it was made with another model than this."""
        facts = self.facts
        if facts.model_digest != model.digest:
            raise UnusableDirectionError(
                f"{path} was made with {facts.model!r} ({facts.model_digest[:12]}), this is "
                f"{model.name!r} ({model.digest[:12]}): make it again with `underpaint "
                f"pix2pix-zero direction --model {model.name} ...`."
            )


def mean_embedding(
    encode: Encode, sentences: Sequence[str], told: Callable[[int], None] = lambda _: None
) -> Tensor:
    """Return the mean of the sentences' embeddings, position by position, ``[L, d]`` fp32.

    `told` hears how many are done.
    """
    total: Tensor | None = None
    for start in range(0, len(sentences), BATCH):
        part = sentences[start : start + BATCH]
        added = encode(part).double().sum(0)
        total = added if total is None else total + added
        told(start + len(part))
    if total is None:
        raise InvalidRequestError("A direction takes at least one sentence on each side.")
    return (total / len(sentences)).to(torch.float32)
