"""The picture-book world: scenes drawn from a seed, with everything known about them.

`scene(seed)` is deterministic: the same seed gives the same bytes on every machine.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from underpaint_picturebook import backgrounds, captions, styles
from underpaint_picturebook.backgrounds import SIDE
from underpaint_picturebook.objects import OBJECTS, Point
from underpaint_picturebook.palette import COLOURS, Colour, jitter, shade

SCALE = 2
"""Drawn at twice the side and box-filtered."""

SIZES = {"small": 0.175, "": 0.25, "big": 0.36}
"""Radius of a single object by size word, in fractions of the side."""

HORIZON = {
    "cat": 0.42, "dog": 0.54, "bus": 0.64, "car": 0.5, "house": 0.72, "tree": 0.76,
    "flower": 0.36, "fish": 0.34, "boat": 0.58, "star": 0.8, "heart": 0.68, "ball": 0.44,
    "cake": 0.4, "mushroom": 0.3, "umbrella": 0.66, "bird": 0.78,
}  # fmt: skip
"""How each object is usually looked at, as in photographs: small things from above, with much
ground in the picture, tall and flying ones against the sky. So another noun makes another
picture, and what an edit has to keep is more than the noise of the seed gives by itself."""


@dataclass(frozen=True)
class Placed:
    """One object before it is drawn: centre and radius in fractions of the side."""

    name: str
    colour: str
    x: float
    y: float
    radius: float
    size: str = ""


@dataclass(frozen=True)
class SceneObject:
    """One object of a finished scene."""

    name: str
    colour: str
    mask: NDArray[np.bool_]
    """[256, 256]: its visible pixels."""
    box: tuple[int, int, int, int]
    """Left, top, right, bottom of the visible pixels, right and bottom exclusive."""
    words: captions.ObjectWords


@dataclass(frozen=True)
class Scene:
    """A picture, uint8 [256, 256, 3], and its truth."""

    seed: int
    image: NDArray[np.uint8]
    caption: str
    objects: tuple[SceneObject, ...]
    background: str
    style: str
    relation: str
    """Where the first object lies from the second: "left", "above", or "" with one or three."""
    horizon: float
    """Where the ground begins, from 0 at the top to 1; unused by a plain background."""
    ground: captions.Span | None
    """The word of the caption that names the ground."""

    @property
    def picture(self) -> Image.Image:
        """The picture for Pillow."""
        return Image.fromarray(self.image)


def is_held_out(objects: tuple[tuple[str, str], ...]) -> bool:
    """Say whether these (object, colour) pairs include anything kept out of training."""
    if any(pair in captions.HELD_OUT_COLOURS for pair in objects):
        return True
    names = [name for name, _ in objects]
    return any(
        frozenset((first, second)) in captions.HELD_OUT_PAIRS
        for rank, first in enumerate(names)
        for second in names[rank + 1 :]
    )


def _choose(rng: random.Random, count: int, *, held_out: bool) -> tuple[tuple[str, str], ...]:
    while True:
        names = rng.sample(list(OBJECTS), count)
        chosen = tuple((name, rng.choice(list(COLOURS))) for name in names)
        if is_held_out(chosen) == held_out:
            return chosen


def _place_one(rng: random.Random, name: str, colour: str, *, styled: bool) -> tuple[Placed, str]:
    size = rng.choices(list(SIZES), (0.0 if styled else 0.22, 0.5, 0.28))[0]
    radius = SIZES[size] * rng.uniform(0.94, 1.06)
    position = rng.choices(
        ("", " on the left", " on the right", " in the middle"), (60, 14, 14, 12)
    )[0]
    if size == "big":
        position = ""
    x = {" on the left": 0.25, " on the right": 0.75}.get(position, 0.5) + rng.uniform(-0.05, 0.05)
    x = min(max(x, 1.1 * radius), 1 - 1.1 * radius)
    y = rng.uniform(0.5, 0.66) if size != "big" else rng.uniform(0.48, 0.58)
    return Placed(name, colour, x, y, radius, size), position


def _place_two(
    rng: random.Random, chosen: tuple[tuple[str, str], ...]
) -> tuple[tuple[Placed, ...], str]:
    relation = "left" if rng.random() < 0.7 else "above"
    radius = rng.uniform(0.19, 0.22)
    middle = rng.uniform(0.46, 0.64) if relation == "left" else rng.uniform(0.4, 0.6)
    placed = []
    for rank, (name, colour) in enumerate(chosen):
        along = (0.27, 0.73)[rank] + rng.uniform(-0.025, 0.025)
        across = middle + rng.uniform(-0.04, 0.04)
        x, y = (along, across) if relation == "left" else (across, along)
        placed.append(Placed(name, colour, x, y, radius))
    return tuple(placed), relation


def _place_three(rng: random.Random, chosen: tuple[tuple[str, str], ...]) -> tuple[Placed, ...]:
    middle = rng.uniform(0.5, 0.62)
    return tuple(
        Placed(name, colour, x + rng.uniform(-0.01, 0.01), middle + rng.uniform(-0.05, 0.05), 0.16)
        for x, (name, colour) in zip((0.18, 0.5, 0.82), chosen, strict=True)
    )


def _outline(colour: Colour) -> Colour:
    """Return a rim that keeps white visible on snow and black visible at night."""
    return (150, 150, 158) if sum(colour) < 200 else shade(colour, 0.55)


def draw(
    canvas: Image.Image, ids: Image.Image, index: int, item: Placed, rng: random.Random
) -> None:
    """Draw one object on the canvas and its number (`index` + 1) on the id map."""
    own = jitter(COLOURS[item.colour], rng)
    flip = rng.choice((-1, 1))
    side = canvas.width
    radius = item.radius * side

    def place(point: Point) -> Point:
        return item.x * side + flip * point[0] * radius, item.y * side + point[1] * radius

    shapes = [[place(point) for point in part.points] for part in OBJECTS[item.name]]
    pen, marker = ImageDraw.Draw(canvas), ImageDraw.Draw(ids)
    for points in shapes:
        ring = [*points, points[0], points[1]]
        for tool, fill in ((pen, _outline(own)), (marker, index + 1)):
            tool.polygon(points, fill=fill)
            tool.line(ring, fill=fill, width=5)
    for part, points in zip(OBJECTS[item.name], shapes, strict=True):
        pen.polygon(
            points, fill=shade(own, part.tint) if isinstance(part.tint, float) else part.tint
        )


def _horizon(names: Iterable[str], rng: random.Random) -> float:
    """Return the mean of the objects' usual horizons, give or take."""
    return fmean(HORIZON[name] for name in names) + rng.uniform(-0.04, 0.04)


def render(
    placed: tuple[Placed, ...], background: str, style: str, horizon: float, rng: random.Random
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the picture [256, 256, 3] and its id map [256, 256], 1 + the index of each object."""
    side = SIDE * SCALE
    canvas = Image.fromarray(backgrounds.paint(background, horizon, rng)).resize((side, side))
    ids = Image.new("L", (side, side))
    pen = ImageDraw.Draw(canvas)
    for x, y, radius in backgrounds.dots(background, horizon, rng):
        pen.ellipse(
            [(v + s * radius) * side for s in (-1, 1) for v in (x, y)], fill=(252, 252, 236)
        )
    for index, item in enumerate(placed):
        draw(canvas, ids, index, item, rng)
    image = np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX))
    marks = np.asarray(ids)[::SCALE, ::SCALE].copy()
    return (image, marks) if style == "none" else styles.STYLES[style](image, marks, rng)


def _truth(
    placed: tuple[Placed, ...], marks: NDArray[np.uint8], words: tuple[captions.ObjectWords, ...]
) -> tuple[SceneObject, ...]:
    found = []
    for index, item in enumerate(placed):
        mask = marks == index + 1
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        box = (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
        found.append(SceneObject(item.name, item.colour, mask, box, words[index]))
    return tuple(found)


def scene(seed: int, *, held_out: bool = False) -> Scene:
    """Draw the scene of a seed.

    With `held_out` the scene shows at least one object-colour or object-object pair that no
    training scene shows; without it, none.
    """
    rng = random.Random(f"picturebook/{held_out}/{seed}")  # noqa: S311 - no secret
    style = rng.choices(("none", *styles.STYLES), (79, 7, 7, 7))[0]
    background = rng.choice(backgrounds.SIMPLE if rng.random() < 0.9 else backgrounds.COMBINED)
    count = rng.choices((1, 2, 3), (54, 41, 5) if style == "none" else (80, 20, 0))[0]
    chosen = _choose(rng, count, held_out=held_out)
    relation = position = ""
    if count == 1:
        single, position = _place_one(rng, *chosen[0], styled=style != "none")
        placed: tuple[Placed, ...] = (single,)
    elif count == 2:
        placed, relation = _place_two(rng, chosen)
    else:
        placed = _place_three(rng, chosen)
    mentions = tuple(
        captions.Mention(p.name, p.colour if rng.random() < 0.82 else "", p.size) for p in placed
    )
    caption = captions.write(
        mentions,
        relation=relation,
        position=position,
        background=background,
        style=style,
        rng=rng,
    )
    horizon = _horizon((p.name for p in placed), rng)
    image, marks = render(placed, background, style, horizon, rng)
    return Scene(
        seed=seed,
        image=image,
        caption=caption.text,
        objects=_truth(placed, marks, caption.words),
        background=background,
        style=style,
        relation=relation,
        horizon=horizon,
        ground=caption.ground,
    )
