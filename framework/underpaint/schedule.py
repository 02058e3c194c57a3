"""The noise schedule: levels, moves, and the DDIM formulae as pure functions.

diffusers' ``DDIMScheduler.step`` guesses the previous timestep as ``t - T // N``, which is wrong
for trailing and linspace spacing; here every move names both of its ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor

from underpaint.errors import InvalidRequestError, ModelLoadError, choices
from underpaint.records import Move

PredictionType = Literal["epsilon", "v_prediction", "sample"]
Spacing = Literal["leading", "trailing", "linspace"]

SPACINGS: tuple[Spacing, ...] = ("leading", "trailing", "linspace")
PREDICTION_TYPES: tuple[PredictionType, ...] = ("epsilon", "v_prediction", "sample")

LEAST_ALPHA = 4.9e-8
"""The level that stands for alpha = 0 in zero-terminal-SNR schedules."""


@dataclass(frozen=True)
class NoiseSchedule:
    """The noise levels a model was trained on.

    Attributes
    ----------
    alphas : alphas_cumprod for t = 0 ... T-1.
    final_alpha : the level of t = -1, the clean end.
    prediction_type : what the UNet's output means.
    spacing, steps_offset : the checkpoint's defaults for choosing inference steps.
    """

    alphas: tuple[float, ...]
    final_alpha: float
    prediction_type: PredictionType = "epsilon"
    spacing: Spacing = "leading"
    steps_offset: int = 0

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> NoiseSchedule:
        """Read a diffusers ``scheduler_config.json``.

        Raises
        ------
        ModelLoadError
            For a beta schedule, spacing or prediction type outside the Stable Diffusion family.
        """
        alphas = _alphas_cumprod(config)
        # DDIM defaults to 1.0 at the clean end, every other scheduler class to alphas[0].
        to_one = config.get("set_alpha_to_one", config.get("_class_name") == "DDIMScheduler")
        prediction = config.get("prediction_type", "epsilon")
        spacing = config.get("timestep_spacing", "leading")
        _known("prediction_type", prediction, PREDICTION_TYPES)
        _known("timestep_spacing", spacing, SPACINGS)
        return cls(
            alphas=tuple(alphas.tolist()),
            final_alpha=1.0 if to_one else float(alphas[0]),
            prediction_type=cast("PredictionType", prediction),
            spacing=cast("Spacing", spacing),
            steps_offset=int(config.get("steps_offset", 0)),
        )

    @property
    def levels(self) -> int:
        """Number of training timesteps T."""
        return len(self.alphas)

    def alpha(self, t: int) -> float:
        """Return alphas_cumprod at level `t`; -1 is the clean end."""
        return self.final_alpha if t < 0 else self.alphas[t]

    def progress(self, t: int) -> float:
        """Return how much of the noise range lies behind level `t`: 0 at T-1, 1 at -1."""
        return (self.levels - 1 - t) / self.levels

    def moves(
        self, steps: int, spacing: Spacing | None = None, eta: float = 0.0
    ) -> tuple[Move, ...]:
        """Return the denoising moves of `steps` inference steps.

        Equal to diffusers' timesteps, except that `leading` with as many steps as levels starts
        at the last level instead of one beyond it, one `linspace` step starts from noise, and
        `trailing` leaves out the step at t=-1 that rounding gives diffusers for e.g. 61 steps.
        """
        if not 1 <= steps <= self.levels:
            raise InvalidRequestError(
                f"num_inference_steps={steps}: give 1 to {self.levels}, e.g. 25."
            )
        times = self._times(steps, spacing or self.spacing)
        return tuple(
            Move(t, next_t, eta) for t, next_t in zip(times, [*times[1:], -1], strict=True)
        )

    def _times(self, steps: int, spacing: Spacing) -> list[int]:
        total = self.levels
        if spacing == "leading":
            ratio = total // steps
            offset = min(self.steps_offset, total - 1 - (steps - 1) * ratio)
            return [i * ratio + offset for i in reversed(range(steps))]
        if spacing == "trailing":
            # numpy's arange, so that ties round as they do in diffusers
            return [int(t) - 1 for t in np.round(np.arange(total, 0, -total / steps))[:steps]]
        if spacing == "linspace":
            gap = (total - 1) / max(steps - 1, 1)
            return [round((steps - 1 - i) * gap) if steps > 1 else total - 1 for i in range(steps)]
        raise InvalidRequestError(f"timestep_spacing={spacing!r}. {choices(spacing, SPACINGS)}")


def output_coefficients(alpha: float, prediction_type: PredictionType) -> tuple[float, float]:
    """Return (c_out, c_sample) with ``epsilon = c_out * output + c_sample * sample``."""
    signal, std = math.sqrt(alpha), math.sqrt(1 - alpha)
    if prediction_type == "epsilon":
        return 1.0, 0.0
    if prediction_type == "v_prediction":
        return signal, std
    return -signal / std, 1 / std


def x0_from_noise(sample: Tensor, noise: Tensor, alpha: float) -> Tensor:
    """Return ``(x - sqrt(1-a) e) / sqrt(a)`` (arXiv 2010.02502, eq. 9)."""
    return (sample - math.sqrt(1 - alpha) * noise) / math.sqrt(alpha)


def add_noise(x0: Tensor, noise: Tensor, alpha: float) -> Tensor:
    """Return ``sqrt(a) x0 + sqrt(1-a) e`` (arXiv 2010.02502, eq. 4)."""
    return math.sqrt(alpha) * x0 + math.sqrt(1 - alpha) * noise


def sigma(alpha: float, next_alpha: float, eta: float) -> float:
    """Return the std of the fresh noise of a DDIM step (arXiv 2010.02502, eq. 16)."""
    if eta == 0:
        return 0.0
    return eta * math.sqrt((1 - next_alpha) / (1 - alpha) * (1 - alpha / next_alpha))


def ddim_step(
    x0: Tensor, noise: Tensor, next_alpha: float, std: float = 0.0, fresh: Tensor | None = None
) -> Tensor:
    """Return ``sqrt(a') x0 + sqrt(1 - a' - s^2) e + s n`` (arXiv 2010.02502, eq. 12).

    With `next_alpha` below the current level's this is DDIM's inversion.
    """
    direction = math.sqrt(max(1 - next_alpha - std**2, 0.0))
    latents = math.sqrt(next_alpha) * x0 + direction * noise
    return latents if fresh is None else latents + std * fresh


def renoise(sample: Tensor, fresh: Tensor, alpha: float, next_alpha: float) -> Tensor:
    """Carry a latent back to a noisier level with fresh noise: the forward process of one move."""
    ratio = next_alpha / alpha
    return math.sqrt(ratio) * sample + math.sqrt(1 - ratio) * fresh


def _alphas_cumprod(config: Mapping[str, Any]) -> Tensor:
    """Build alphas_cumprod in float32, as diffusers does, so that levels agree to the bit."""
    total = int(config.get("num_train_timesteps", 1000))
    start, end = float(config.get("beta_start", 1e-4)), float(config.get("beta_end", 0.02))
    kind = config.get("beta_schedule", "linear")
    if config.get("trained_betas") is not None:
        betas = torch.tensor(config["trained_betas"], dtype=torch.float32)
    elif kind == "linear":
        betas = torch.linspace(start, end, total, dtype=torch.float32)
    elif kind == "scaled_linear":
        betas = torch.linspace(start**0.5, end**0.5, total, dtype=torch.float32) ** 2
    elif kind == "squaredcos_cap_v2":
        betas = _cosine_betas(total)
    else:
        valid = ("linear", "scaled_linear", "squaredcos_cap_v2")
        raise ModelLoadError(f"scheduler: beta_schedule={kind!r}. {choices(str(kind), valid)}")
    alphas = torch.cumprod(1.0 - betas, dim=0)
    if config.get("rescale_betas_zero_snr"):
        # Everything is kept in epsilon and x0 terms, which needs a trace of signal to divide by.
        alphas = _zero_terminal_snr(alphas).clamp(min=LEAST_ALPHA)
    return alphas


def _cosine_betas(total: int) -> Tensor:
    def bar(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - bar((i + 1) / total) / bar(i / total), 0.999) for i in range(total)]
    return torch.tensor(betas, dtype=torch.float32)


def _zero_terminal_snr(alphas: Tensor) -> Tensor:
    """Shift and scale sqrt(a) so the last is 0 and the first unchanged (arXiv 2305.08891)."""
    root = alphas.sqrt()
    first, last = root[0].clone(), root[-1].clone()
    return ((root - last) * first / (first - last)) ** 2


def _known(field: str, value: object, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise ModelLoadError(f"scheduler: {field}={value!r}. {choices(str(value), valid)}")
