"""From a call's arguments to a checked `Request`."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor

from underpaint.engine import ModelInfo
from underpaint.errors import InvalidRequestError, choices
from underpaint.method import Method
from underpaint.pictures import Picture
from underpaint.records import check_finite
from underpaint.trajectory import Trajectory

Texts = str | Sequence[str]
Generators = torch.Generator | Sequence[torch.Generator]
Pictures = Picture | Sequence[Picture]


def check_texts(name: str, value: Texts, allow_empty: bool = False) -> list[str]:
    """Return a list of prompts, or raise InvalidRequestError."""
    if not isinstance(value, Sequence):
        raise InvalidRequestError(f"{name}={value!r}: give text, or a list of texts.")
    texts = [value] if isinstance(value, str) else list(value)
    if not texts:
        raise InvalidRequestError(f"{name} is an empty list: give at least one text.")
    for text in texts:
        if not isinstance(text, str):
            raise InvalidRequestError(f"{name} holds {text!r}: give text.")
        if not text.strip() and not allow_empty:
            raise InvalidRequestError(f"{name} is empty: say what the image shows.")
    return texts


def check_edits(edits: Sequence[Method]) -> tuple[Method, ...]:
    """Return the edits, or raise InvalidRequestError for what is no `Method`."""
    for edit in edits:
        if not isinstance(edit, Method):
            raise InvalidRequestError(
                f"edits holds {edit!r}: give instances of Method subclasses, such as "
                "PromptToPrompt(source='a cat'); `underpaint plugins list` shows the installed."
            )
    return tuple(edits)


def check_number(name: str, value: float, low: float, high: float, example: float) -> float:
    """Return a finite number within its limits, or raise InvalidRequestError."""
    if not isinstance(value, Real) or not (math.isfinite(value) and low <= value <= high):
        limit = f"at least {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
        raise InvalidRequestError(f"{name}={value!r}: give a number {limit}, e.g. {example:g}.")
    return float(value)


def check_count(name: str, value: int, low: int, high: int) -> int:
    """Return a whole number within its limits, or raise InvalidRequestError."""
    if not isinstance(value, int) or not low <= value <= high:
        raise InvalidRequestError(f"{name}={value!r}: give a whole number from {low} to {high}.")
    return value


def check_choice(name: str, value: str, valid: Sequence[str]) -> None:
    """Raise InvalidRequestError unless `value` is one of the valid names."""
    if value not in valid:
        raise InvalidRequestError(f"{name}={value!r}. {choices(value, valid)}")


def check_size(name: str, value: int | None, default: int, model: ModelInfo) -> int:
    """Return a side in pixels, a multiple of what VAE and UNet halve together."""
    unit = model.vae_factor << model.sites.deepest_level
    side = default * model.vae_factor if value is None else value
    if not isinstance(side, int) or side < unit or side % unit:
        near = side if isinstance(side, int) else default * model.vae_factor
        below = max(near // unit, 1) * unit
        raise InvalidRequestError(
            f"{name}={side!r}: give a multiple of {unit}, e.g. {below} or {below + unit}."
        )
    return side


def spread(name: str, texts: list[str], prompts: int, per_prompt: int) -> tuple[str, ...]:
    """Return one text per image: `texts` holds one for all prompts, or one per prompt."""
    if len(texts) not in (1, prompts):
        raise InvalidRequestError(f"{name} holds {len(texts)} texts for {prompts} prompts.")
    each = texts * prompts if len(texts) == 1 else texts
    return tuple(text for text in each for _ in range(per_prompt))


def check_pictures(pictures: Pictures) -> list[Picture]:
    """Return a list of pictures; a batch ``[B, C, H, W]`` is several."""
    if isinstance(pictures, Tensor) and pictures.dim() == 4:
        return list(pictures)
    if isinstance(pictures, Sequence) and not isinstance(pictures, str):
        return list(pictures)
    return [pictures]


def spread_pictures(pictures: list[Picture], prompts: int, per_prompt: int) -> list[Picture]:
    """Return one picture for all images, or one per image."""
    if len(pictures) not in (1, prompts):
        raise InvalidRequestError(
            f"image holds {len(pictures)} pictures for {prompts} prompts: give one, or one each."
        )
    if len(pictures) == 1:
        return pictures
    return [picture for picture in pictures for _ in range(per_prompt)]


def check_trajectory(trajectory: Trajectory, images: int) -> Trajectory:
    """Return a trajectory that serves so many images, or raise InvalidRequestError."""
    if not isinstance(trajectory, Trajectory):
        raise InvalidRequestError(
            f"trajectory is {type(trajectory).__name__}: give what pipe.invert(...) or "
            "Trajectory.load(path) returned."
        )
    if trajectory.pivots.shape[1] not in (1, images):
        raise InvalidRequestError(
            f"The trajectory is of {trajectory.pivots.shape[1]} pictures, the call of {images} "
            "images: give one of a single picture, or of as many."
        )
    return trajectory


def expand_seeds(
    seed: int | Sequence[int] | None, prompts: int, per_prompt: int
) -> tuple[int, ...]:
    """Return one seed per image.

    A single seed serves every prompt (so that several targets share one x_T); the images of one
    prompt take seed, seed + 1, ... None draws one.
    """
    total = prompts * per_prompt
    if seed is None:
        seed = secrets.randbelow(2**32)
    if isinstance(seed, int):
        seeds = [seed + k for _ in range(prompts) for k in range(per_prompt)]
    else:
        seeds = list(seed) if isinstance(seed, Sequence) else [seed]
    if len(seeds) != total:
        raise InvalidRequestError(f"seed holds {len(seeds)} numbers for {total} images.")
    for value in seeds:
        if not isinstance(value, int) or not 0 <= value < 2**63:
            raise InvalidRequestError(f"seed={value!r}: give whole numbers from 0 to 2**63 - 1.")
    return tuple(seeds)


def seeds_of(
    seed: int | Sequence[int] | None,
    generator: Generators | None,
    prompts: int,
    per_prompt: int,
) -> tuple[int, ...]:
    """Return one seed per image, from `seed` or from what the generators were seeded with."""
    if generator is None:
        return expand_seeds(seed, prompts, per_prompt)
    if seed is not None:
        raise InvalidRequestError("Give seed or generator, not both.")
    generators = check_generators(generator)
    if isinstance(generator, torch.Generator):
        # One generator draws the images' noise in turn; its seed keys whatever noise comes later.
        return expand_seeds(generator.initial_seed() % 2**63, prompts, per_prompt)
    seeds = [one.initial_seed() % 2**63 for one in generators]
    return expand_seeds(seeds, prompts, per_prompt)


def check_generators(generator: Generators) -> list[torch.Generator]:
    """Return the CPU generators, or raise InvalidRequestError."""
    given = list(generator) if isinstance(generator, Sequence) else [generator]
    for one in given:
        if not isinstance(one, torch.Generator) or one.device.type != "cpu":
            raise InvalidRequestError(
                "generator: give torch.Generator('cpu'); noise is drawn on the CPU so that a seed "
                "means the same picture on every device."
            )
    return given


def draw_latents(generator: Generators, images: int, shape: tuple[int, int, int]) -> Tensor:
    """Draw x_T ``[I, C, h, w]`` from one CPU generator or from one per image, as diffusers does."""
    generators = check_generators(generator)
    if len(generators) == 1:
        return torch.randn((images, *shape), generator=generators[0])
    if len(generators) != images:
        raise InvalidRequestError(f"{len(generators)} generators for {images} images.")
    return torch.stack([torch.randn(shape, generator=one) for one in generators])


def check_latents(latents: Tensor, images: int, shape: tuple[int, int, int]) -> Tensor:
    """Return x_T as fp32 ``[I, C, h, w]``, or raise a typed error."""
    if not isinstance(latents, Tensor) or tuple(latents.shape) != (images, *shape):
        got = tuple(latents.shape) if isinstance(latents, Tensor) else type(latents).__name__
        raise InvalidRequestError(f"latents: got {got}, give a tensor of {(images, *shape)}.")
    return check_finite("latents", latents.detach().to("cpu", torch.float32))
