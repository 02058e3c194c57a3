"""What is trained, on which pictures: everything that decides the outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from underpaint.engine import ModelInfo
from underpaint.errors import InvalidRequestError

from underpaint_asyrp.attribute import AttributeFacts
from underpaint_asyrp.directions import Kind
from underpaint_asyrp.process import MID_BLOCK, Halves
from underpaint_asyrp.training.objectives import Objective

SUBJECT = "..."
"""Stands for a subject in the texts."""


@dataclass(frozen=True)
class Case:
    """One picture: what it shows before and after, its seed, or the file it is inverted from."""

    source: str
    target: str
    seed: int
    image: str | None = None


class Plan(BaseModel):
    """The settings of a training.

    Attributes
    ----------
    source, target : what the pictures show before and after; ``...`` stands for a subject.
    subjects : in place of ``...``, taken in turn.
    images : files to invert; without them pictures of the source texts are generated.
    pictures : how many are generated.
    epochs : how often each is gone through.
    batch : pictures that share an update.
    kind, buckets, halves : of the direction, see `AttributeFacts`.
    num_inference_steps, guidance_scale : of the pictures.
    t_edit, t_boost : of the attribute; only steps with ``t >= t_edit`` are trained, and fresh
        noise comes in after them, if at all.
    learning_rate : Adam's at the first update; it falls to a tenth along a cosine.
    objective : the paper's directional loss (``clip``), or the model's own prediction for the
        target's text (``prompt``).
    clip_weight, l1_weight : of the directional loss's two parts.
    seed : of the first picture and of the direction's start.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    target: str
    subjects: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    pictures: int = Field(16, ge=1)
    epochs: int = Field(3, ge=1)
    batch: int = Field(4, ge=1)
    kind: Kind = "conv"
    buckets: int = Field(1, ge=1)
    halves: Halves = "cond"
    num_inference_steps: int = Field(ge=1)
    guidance_scale: float
    t_edit: int = Field(ge=0)
    t_boost: int = Field(0, ge=0)
    learning_rate: float = Field(0.003, gt=0)
    objective: Objective = "clip"
    clip_weight: float = Field(1.0, ge=0)
    l1_weight: float = Field(3.0, ge=0)
    seed: int = 0

    @model_validator(mode="after")
    def _boost_after_editing(self) -> Self:
        if self.t_boost > self.t_edit:
            raise ValueError(
                f"t_boost {self.t_boost} is above t_edit {self.t_edit}: fresh noise would come in "
                "while it is edited. Give a t_boost up to t_edit, or 0 for no fresh noise."
            )
        return self

    def cases(self) -> list[Case]:
        """Return the pictures.

        Raises
        ------
        InvalidRequestError
            If the texts and the subjects do not fit each other.
        """
        wanted = SUBJECT in self.source
        if wanted != (SUBJECT in self.target) or wanted != bool(self.subjects):
            raise InvalidRequestError(
                f"--source {self.source!r}, --target {self.target!r}, {len(self.subjects)} "
                f"subjects: write {SUBJECT} in both texts and give subjects that take its place, "
                "or neither."
            )
        if self.source == self.target:
            raise InvalidRequestError("--source and --target are the same text: nothing to learn.")
        subjects = self.subjects or ("",)
        number = len(self.images) or self.pictures
        return [
            Case(
                self.source.replace(SUBJECT, subjects[k % len(subjects)]),
                self.target.replace(SUBJECT, subjects[k % len(subjects)]),
                self.seed + k,
                self.images[k] if self.images else None,
            )
            for k in range(number)
        ]

    def batches(self) -> list[list[Case]]:
        """Return the pictures of each update, of one epoch."""
        cases = self.cases()
        return [cases[k : k + self.batch] for k in range(0, len(cases), self.batch)]

    def facts(self, model: ModelInfo, **training: object) -> AttributeFacts:
        """Return the facts of the attribute that comes of it."""
        site = next(site for site in model.sites.all if site.name == MID_BLOCK)
        return AttributeFacts(
            kind=self.kind,
            model=model.name,
            model_digest=model.digest,
            channels=site.channels,
            levels=model.noise.levels,
            buckets=self.buckets,
            source=self.source,
            target=self.target,
            t_edit=self.t_edit,
            t_boost=self.t_boost,
            halves=self.halves,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            training={
                "subjects": list(self.subjects),
                "pictures": len(self.cases()),
                "epochs": self.epochs,
                "learning_rate": self.learning_rate,
                **self._loss_facts(),
                "seed": self.seed,
                **training,
            },
        )

    def _loss_facts(self) -> dict[str, object]:
        if self.objective == "prompt":
            return {"objective": self.objective}
        names = {"objective", "clip_weight", "l1_weight"}
        return self.model_dump(include=names)
