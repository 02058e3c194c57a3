"""The backgrounds: six plain ones, and grass, beach and water seen in the snow or at night."""

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from underpaint_picturebook.palette import Colour, jitter

SIDE = 256

Ramp = tuple[Colour, Colour]
"""Colours of a vertical gradient, from top to bottom."""


@dataclass(frozen=True)
class Background:
    """What lies behind the objects, and the words that say so (the first is the usual one)."""

    words: tuple[str, ...]
    sky: Ramp
    ground: Ramp
    stars: bool = False
    flakes: bool = False

    @property
    def has_ground(self) -> bool:
        """Whether there is a horizon."""
        return self.sky != self.ground


_DAY: Ramp = ((120, 184, 244), (212, 236, 250))
_DARK: Ramp = ((12, 16, 52), (42, 48, 104))
_WHITE: Ramp = ((168, 188, 214), (222, 230, 240))
_PLAIN: tuple[Colour, ...] = ((232, 228, 220), (210, 224, 238), (238, 220, 226), (220, 238, 222))

BACKGROUNDS: dict[str, Background] = {
    "plain": Background(("",), (_PLAIN[0], _PLAIN[0]), (_PLAIN[0], _PLAIN[0])),
    "grass": Background(("on grass", "on the grass"), _DAY, ((118, 188, 76), (66, 138, 50))),
    "snow": Background(("in the snow",), _WHITE, ((248, 250, 253), (222, 232, 244)), flakes=True),
    "beach": Background(
        ("on the beach", "at the beach"),
        ((90, 190, 236), (232, 244, 244)),
        ((242, 222, 164), (222, 192, 124)),
    ),
    "night": Background(("at night",), _DARK, ((34, 46, 58), (18, 24, 34)), stars=True),
    "water": Background(("on the water", "at sea"), _DAY, ((56, 130, 204), (22, 76, 150))),
    "grass in snow": Background(
        ("on grass in the snow",), _WHITE, ((196, 222, 186), (142, 182, 136)), flakes=True
    ),
    "grass at night": Background(
        ("on grass at night",), _DARK, ((36, 80, 44), (20, 48, 28)), stars=True
    ),
    "beach in snow": Background(
        ("on the beach in the snow",), _WHITE, ((246, 236, 208), (230, 214, 176)), flakes=True
    ),
    "beach at night": Background(
        ("on the beach at night",), _DARK, ((104, 92, 78), (70, 60, 54)), stars=True
    ),
    "water in snow": Background(
        ("on the water in the snow",), _WHITE, ((134, 172, 206), (88, 128, 174)), flakes=True
    ),
    "water at night": Background(
        ("on the water at night",), _DARK, ((26, 58, 110), (12, 30, 72)), stars=True
    ),
}
SIMPLE = ("plain", "grass", "snow", "beach", "night", "water")
COMBINED = tuple(name for name in BACKGROUNDS if name not in SIMPLE)
GROUNDS = frozenset({"grass", "beach", "water", "sea"})
"""The words that name what is below the horizon."""


def _gradient(ramp: Ramp, rows: int) -> NDArray[np.float64]:
    part = np.linspace(0.0, 1.0, rows)[:, None]
    top, bottom = (np.asarray(colour, dtype=np.float64) for colour in ramp)
    return top * (1 - part) + bottom * part


def paint(name: str, horizon: float, rng: random.Random) -> NDArray[np.uint8]:
    """Paint one background: uint8 [256, 256, 3]. Shades vary with `rng`.

    `horizon` is where the ground begins, from 0 at the top to 1.
    """
    kind = BACKGROUNDS[name]
    rim = round(SIDE * horizon)
    if not kind.has_ground:
        colour = jitter(rng.choice(_PLAIN), rng)
        rows = _gradient((colour, colour), SIDE) * np.linspace(1.0, 0.93, SIDE)[:, None]
    else:
        sky, ground = (
            (jitter(ramp[0], rng), jitter(ramp[1], rng)) for ramp in (kind.sky, kind.ground)
        )
        rows = np.concatenate([_gradient(sky, rim), _gradient(ground, SIDE - rim)])
    return np.repeat(rows[:, None].clip(0, 255).astype(np.uint8), SIDE, axis=1)


def dots(name: str, horizon: float, rng: random.Random) -> list[tuple[float, float, float]]:
    """Return stars in the sky or snowflakes anywhere as (x, y, radius), fractions of the side."""
    kind = BACKGROUNDS[name]
    count = 24 if kind.stars else 40 if kind.flakes else 0
    floor = 0.85 * horizon if kind.stars else 1.0
    return [(rng.random(), rng.random() * floor, rng.uniform(0.004, 0.008)) for _ in range(count)]
