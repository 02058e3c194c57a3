"""Make the edits of one item: what a method starts from, how long it takes, what it attends to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from underpaint import Pipeline, Trajectory
from underpaint.engine import ModelInfo
from underpaint.result import Result

from benchmarks.picturebench.calls import Call
from benchmarks.picturebench.items import Item
from benchmarks.picturebench.scenes import Pixels


@dataclass(frozen=True)
class Edited:
    """What came of an edit; `seconds` is None where a part of it was taken from a cache."""

    picture: Pixels
    attention: NDArray[np.float32] | None = None
    seconds: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """How every picture is made."""

    steps: int
    guidance: float
    seed: int = 0

    @classmethod
    def of(
        cls, model: ModelInfo, *, steps: int | None, guidance: float | None, seed: int
    ) -> Settings:
        """Return these settings; None takes what the model recommends."""
        return cls(
            model.num_inference_steps if steps is None else steps,
            model.guidance_scale if guidance is None else guidance,
            seed,
        )

    def call(self) -> dict[str, Any]:
        """Return the arguments of every call."""
        return {
            "seed": self.seed,
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "record_attention": True,
        }


@dataclass(eq=False)
class Editor:
    """Makes the edits of one item; its inversions are shared, and timed once."""

    pipe: Pipeline
    settings: Settings
    item: Item
    paths: dict[str, tuple[Trajectory, float]] = field(default_factory=dict)

    def edit(self, call: Call) -> Edited:
        """Make one edit.

        Raises
        ------
        UnderpaintError
            If the method refuses it.
        """
        if call.start == "given":
            return Edited(np.asarray(call.picture))
        if call.start == "autoencoder":
            return Edited(self._coded())
        given, before = self._start(call)
        inversion, tuning = _Watch(), _Watch()
        started = time.perf_counter()
        result = self.pipe(
            call.prompt,
            edits=call.edits,
            callback_on_inversion_step_end=inversion,
            callback_on_tuning_step_end=tuning,
            **given,
            **self.settings.call(),
        )
        seconds = before + time.perf_counter() - started
        cached = (call.start == "inverted" and not inversion.called) or (
            any(edit.tuning() for edit in call.edits) and not tuning.called
        )
        return Edited(
            np.asarray(result.images[0].convert("RGB").resize(self._size)),
            self._attention(result),
            None if cached else seconds,
            result.warnings,
        )

    @property
    def _size(self) -> tuple[int, int]:
        height, width = self.item.mask.shape
        return width, height

    def _start(self, call: Call) -> tuple[dict[str, Any], float]:
        """Return the arguments of what it starts from, and the seconds of the inversion."""
        if call.start == "noise":
            return {}, 0.0
        if call.start in ("picture", "inverted"):
            return {"image": self.item.picture, "follow": call.follow}, 0.0
        inverting = [each for edit in call.edits for each in edit.inverting()]
        key = str([each.describe() for each in inverting])
        if key not in self.paths:
            started = time.perf_counter()
            path = self.pipe.invert(
                self.item.picture,
                self.item.source_prompt,
                edits=inverting,
                num_inference_steps=self.settings.steps,
                cache=False,
            )
            self.paths[key] = path, time.perf_counter() - started
        path, seconds = self.paths[key]
        return {"trajectory": path, "follow": call.follow}, seconds

    def _attention(self, result: Result) -> NDArray[np.float32] | None:
        word, maps = self.item.focus, result.word_maps
        if word is None or maps is None or word not in maps.words:
            return None
        return np.asarray(maps[word][0].float(), dtype=np.float32)

    @torch.no_grad()
    def _coded(self) -> Pixels:
        engine = self.pipe.engine
        pixels = torch.tensor(self.item.picture).permute(2, 0, 1)[None] / 255
        back = engine.decode_latents(engine.encode_image(pixels)).clamp(0, 1)[0]
        return np.asarray((back.permute(1, 2, 0) * 255).round().byte())


@dataclass(eq=False)
class _Watch:
    """A callback that knows whether it was called: what comes from the cache calls nothing."""

    called: bool = False

    def __call__(
        self, pipe: object, step: int, timestep: int, values: dict[str, Any]
    ) -> dict[str, Any]:
        del pipe, step, timestep
        self.called = True
        return values
