"""Scenes as data, so that a scene and its edit are drawn with all that is not edited equal.

`underpaint_picturebook.world.render` draws one stream of random numbers, so another background
would move every shade after it. Here each part draws its own stream, by the scene's seed.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from underpaint_picturebook import backgrounds, styles
from underpaint_picturebook.backgrounds import BACKGROUNDS, SIDE
from underpaint_picturebook.styles import STYLE_WORDS
from underpaint_picturebook.world import SCALE, Placed, draw

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

SNOWFLAKE = (252, 252, 236)
"""Colour of the world's flakes and stars."""


@dataclass(frozen=True)
class Thing:
    """An object of a scene, and whether its prompt says the colour.

    `slot` is its number through all edits of the scene: shade and flip are drawn by it.
    """

    slot: int
    placed: Placed
    says_colour: bool = True

    @property
    def phrase(self) -> str:
        """The words of the prompt, without an article."""
        colour = self.placed.colour if self.says_colour else ""
        return " ".join(filter(None, (self.placed.size, colour, self.placed.name)))


@dataclass(frozen=True)
class SceneSpec:
    """All that a picture is drawn from.

    Attributes
    ----------
    seed : of every shade that the words leave open.
    joint : words between the first and the second object.
    position : words for the place of a single object, " on the left".
    horizon : where the ground begins, from 0 at the top to 1.
    """

    seed: str
    things: tuple[Thing, ...]
    background: str
    horizon: float
    style: str = "none"
    joint: str = " and "
    position: str = ""

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The (object, colour) pairs, for `underpaint_picturebook.world.is_held_out`."""
        return tuple((each.placed.name, each.placed.colour) for each in self.things)

    @property
    def prompt(self) -> str:
        """What the picture shows, in the words that the model was trained on."""
        named = (f"{article(each.phrase)} {each.phrase}" for each in self.things)
        place = BACKGROUNDS[self.background].words[0]
        words = f"{STYLE_WORDS[self.style][0]}{self.joint.join(named)}{self.position} {place}"
        return words.strip()

    def rng(self, part: str) -> random.Random:
        """Return the stream of one part of the picture."""
        return random.Random(f"picturebench/{self.seed}/{part}")  # noqa: S311 - no secret


@dataclass(frozen=True)
class Drawn:
    """A picture, uint8 [256, 256, 3], and where its objects lie, bool [256, 256] by slot.

    `cover` is wherever the object has any part of a pixel, `solid` where it has all of it.
    """

    picture: Pixels
    cover: dict[int, Mask]
    solid: dict[int, Mask]


def article(phrase: str) -> str:
    """Return a or an."""
    return "an" if phrase[0] in "aeiou" else "a"


def draw_scene(spec: SceneSpec) -> Drawn:
    """Draw a scene as the world does, at twice the side and box-filtered."""
    side = SIDE * SCALE
    ground = backgrounds.paint(spec.background, spec.horizon, spec.rng("background"))
    canvas = Image.fromarray(ground).resize((side, side))
    pen = ImageDraw.Draw(canvas)
    for x, y, radius in backgrounds.dots(spec.background, spec.horizon, spec.rng("dots")):
        corners = [(v + sign * radius) * side for sign in (-1, 1) for v in (x, y)]
        pen.ellipse(corners, fill=SNOWFLAKE)
    ids = Image.new("L", (side, side))
    for thing in spec.things:
        draw(canvas, ids, thing.slot, thing.placed, spec.rng(f"object {thing.slot}"))
    picture = np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX))
    marks = np.asarray(ids)
    if spec.style != "none":
        small = marks[::SCALE, ::SCALE].copy()
        picture, _ = styles.STYLES[spec.style](picture, small, spec.rng("style"))
    quarters = marks.reshape(SIDE, SCALE, SIDE, SCALE)
    return Drawn(
        picture,
        {each.slot: (quarters == each.slot + 1).any((1, 3)) for each in spec.things},
        {each.slot: (quarters == each.slot + 1).all((1, 3)) for each in spec.things},
    )
