"""The sixteen objects as data: each is a list of filled polygons in a unit square.

Coordinates run from -1 to 1, x to the right and y down. A part's tint is a number (a shade
of the object's own colour) or an RGB triple (a colour it always has, as the wheels of a bus).
"""

import math
from dataclasses import dataclass

from underpaint_picturebook.palette import Colour

Point = tuple[float, float]
Tint = float | Colour

INK: Colour = (28, 26, 30)
GLASS: Colour = (200, 230, 250)
CREAM: Colour = (255, 244, 230)
WOOD: Colour = (110, 72, 40)
LEAF: Colour = (60, 140, 60)
METAL: Colour = (190, 190, 190)


@dataclass(frozen=True)
class Part:
    """One filled polygon of an object."""

    points: tuple[Point, ...]
    tint: Tint = 1.0


def polygon(*points: Point, tint: Tint = 1.0) -> Part:
    """Return the polygon through `points`."""
    return Part(points, tint)


def ellipse(x: float, y: float, rx: float, ry: float, tint: Tint = 1.0) -> Part:
    """Return an ellipse around (x, y) as a polygon of 28 corners."""
    return arc(x, y, rx, ry, span=(0, 360), tint=tint)


def arc(
    x: float, y: float, rx: float, ry: float, *, span: Point = (180, 360), tint: Tint = 1.0
) -> Part:
    """Return the piece of an ellipse between two angles in degrees (0 is right, 90 is down)."""
    start, end = span
    angles = [math.radians(start + (end - start) * step / 28) for step in range(29)]
    return Part(tuple((x + rx * math.cos(a), y + ry * math.sin(a)) for a in angles), tint)


def box(
    x0: float, y0: float, x1: float, y1: float, tint: Tint = 1.0, *, round_by: float = 0
) -> Part:
    """Return a rectangle whose corners are cut off by a quarter circle of radius `round_by`."""
    if not round_by:
        return Part(((x0, y0), (x1, y0), (x1, y1), (x0, y1)), tint)
    r = min(round_by, (x1 - x0) / 2, (y1 - y0) / 2)
    left, top, right, bottom = x0 + r, y0 + r, x1 - r, y1 - r
    corners = ((right, bottom, 0), (left, bottom, 90), (left, top, 180), (right, top, 270))
    points: list[Point] = []
    for cx, cy, start in corners:
        points.extend(arc(cx, cy, r, r, span=(start, start + 90), tint=tint).points[::7])
    return Part(tuple(points), tint)


def _wheels(y: float) -> list[Part]:
    return [
        part
        for x in (-0.55, 0.55)
        for part in (ellipse(x, y, 0.24, 0.24, INK), ellipse(x, y, 0.1, 0.1, METAL))
    ]


def _star() -> tuple[Point, ...]:
    radii = [1.0 if corner % 2 == 0 else 0.42 for corner in range(10)]
    return tuple(
        (r * math.sin(corner * math.pi / 5), -r * math.cos(corner * math.pi / 5))
        for corner, r in enumerate(radii)
    )


def _heart() -> tuple[Point, ...]:
    turns = [step * 2 * math.pi / 48 for step in range(48)]
    return tuple(
        (
            0.9 * math.sin(t) ** 3,
            -0.056
            * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
        )
        for t in turns
    )


def _petals() -> list[Part]:
    turns = [step * math.pi / 3 for step in range(6)]
    return [ellipse(0.42 * math.cos(t), -0.3 + 0.42 * math.sin(t), 0.28, 0.28) for t in turns]


OBJECTS: dict[str, tuple[Part, ...]] = {
    "cat": (
        polygon(
            (0.5, 0.5), (0.92, 0.1), (0.82, -0.2), (1.0, -0.25), (1.1, 0.15), (0.7, 0.78), tint=0.72
        ),
        ellipse(0.1, 0.45, 0.55, 0.5),
        polygon((-0.8, -0.3), (-0.82, -0.92), (-0.4, -0.55)),
        polygon((0.1, -0.3), (0.12, -0.92), (-0.3, -0.55)),
        ellipse(-0.35, -0.2, 0.48, 0.43),
        ellipse(-0.53, -0.25, 0.08, 0.11, INK),
        ellipse(-0.18, -0.25, 0.08, 0.11, INK),
        ellipse(-0.35, -0.05, 0.07, 0.05, (250, 160, 170)),
        ellipse(-0.2, 0.86, 0.16, 0.1, 0.72),
        ellipse(0.22, 0.88, 0.16, 0.1, 0.72),
    ),
    "dog": (
        polygon((0.78, -0.02), (1.05, -0.55), (1.18, -0.42), (0.92, 0.12)),
        *(box(x, 0.3, x + 0.17, 0.95, 0.66) for x in (-0.32, -0.08, 0.5, 0.7)),
        box(-0.38, -0.12, 0.88, 0.48, round_by=0.2),
        ellipse(-0.55, -0.32, 0.38, 0.36),
        ellipse(-0.86, -0.2, 0.24, 0.18, 1.12),
        ellipse(-1.03, -0.24, 0.08, 0.07, INK),
        ellipse(-0.34, -0.26, 0.16, 0.36, 0.6),
        ellipse(-0.68, -0.42, 0.07, 0.08, INK),
    ),
    "bus": (
        box(-1, -0.6, 1, 0.45, round_by=0.12),
        *(box(-0.88 + i * 0.46, -0.42, -0.52 + i * 0.46, 0.0, GLASS) for i in range(4)),
        box(-1, 0.12, 1, 0.22, 0.72),
        *_wheels(0.48),
    ),
    "car": (
        polygon((-0.6, -0.05), (-0.32, -0.52), (0.38, -0.52), (0.72, -0.05), tint=0.85),
        polygon((-0.42, -0.08), (-0.25, -0.42), (0.0, -0.42), (0.0, -0.08), tint=GLASS),
        polygon((0.1, -0.08), (0.1, -0.42), (0.32, -0.42), (0.55, -0.08), tint=GLASS),
        box(-1, -0.12, 1, 0.36, round_by=0.15),
        *_wheels(0.36),
    ),
    "house": (
        box(-0.75, -0.12, 0.75, 0.9),
        polygon((-0.98, -0.08), (0, -0.92), (0.98, -0.08), tint=0.6),
        box(-0.18, 0.35, 0.18, 0.9, (90, 60, 40)),
        box(-0.62, 0.1, -0.3, 0.42, GLASS),
        box(0.3, 0.1, 0.62, 0.42, GLASS),
    ),
    "tree": (
        box(-0.13, 0.2, 0.13, 0.98, WOOD),
        ellipse(-0.4, 0.0, 0.44, 0.38, 0.86),
        ellipse(0.4, 0.0, 0.44, 0.38, 0.82),
        ellipse(0, -0.38, 0.58, 0.5),
        ellipse(-0.12, -0.55, 0.26, 0.2, 1.15),
    ),
    "flower": (
        box(-0.06, 0.0, 0.06, 0.98, LEAF),
        ellipse(0.26, 0.62, 0.26, 0.11, LEAF),
        *_petals(),
        ellipse(0, -0.3, 0.24, 0.24, (250, 226, 120)),
    ),
    "fish": (
        polygon((0.4, 0), (1, -0.55), (0.88, 0), (1, 0.55), tint=0.72),
        polygon((-0.3, -0.35), (0.2, -0.78), (0.35, -0.3), tint=0.72),
        ellipse(-0.15, 0, 0.8, 0.5),
        ellipse(-0.58, -0.12, 0.13, 0.13, (250, 250, 250)),
        ellipse(-0.61, -0.12, 0.06, 0.06, INK),
    ),
    "boat": (
        box(-0.05, -0.95, 0.05, 0.3, WOOD),
        polygon((0.1, -0.9), (0.1, 0.15), (0.8, 0.15), tint=(245, 245, 240)),
        polygon((-0.1, -0.65), (-0.1, 0.15), (-0.6, 0.15), tint=(225, 225, 220)),
        polygon((-1, 0.25), (1, 0.25), (0.65, 0.85), (-0.65, 0.85)),
    ),
    "star": (Part(_star()),),
    "heart": (Part(_heart()),),
    "ball": (
        ellipse(0, 0, 0.82, 0.82),
        ellipse(0, 0.05, 0.82, 0.16, 0.66),
        ellipse(-0.26, -0.4, 0.22, 0.17, 1.35),
    ),
    "cake": (
        box(-0.05, -0.85, 0.05, -0.42, (250, 220, 80)),
        ellipse(0, -0.9, 0.09, 0.12, (255, 150, 40)),
        box(-0.55, -0.42, 0.55, 0.12, 1.12),
        box(-0.58, -0.46, 0.58, -0.28, CREAM, round_by=0.08),
        box(-0.86, 0.1, 0.86, 0.82),
        box(-0.9, 0.06, 0.9, 0.27, CREAM, round_by=0.08),
    ),
    "mushroom": (
        box(-0.28, 0.0, 0.28, 0.92, (245, 232, 208), round_by=0.15),
        arc(0, 0.12, 0.95, 0.98),
        ellipse(-0.42, -0.22, 0.14, 0.14, (250, 250, 250)),
        ellipse(0.04, -0.52, 0.16, 0.16, (250, 250, 250)),
        ellipse(0.46, -0.2, 0.13, 0.13, (250, 250, 250)),
    ),
    "umbrella": (
        box(-0.05, -0.98, 0.05, 0.85, WOOD),
        arc(0.17, 0.78, 0.22, 0.2, span=(0, 180), tint=WOOD),
        arc(0, 0.12, 1.0, 0.95),
        arc(0, 0.12, 0.36, 0.95, tint=0.74),
        *(arc(x, 0.14, 0.17, 0.13, tint=0.55) for x in (-0.83, 0.83)),
    ),
    "bird": (
        polygon((0.5, 0.1), (1.1, -0.12), (1.05, 0.32), (0.45, 0.42), tint=0.7),
        box(-0.12, 0.5, -0.05, 0.95, (230, 140, 40)),
        box(0.14, 0.5, 0.21, 0.95, (230, 140, 40)),
        polygon((-0.78, -0.42), (-1.12, -0.25), (-0.78, -0.15), tint=(245, 170, 40)),
        ellipse(0.05, 0.15, 0.62, 0.45),
        ellipse(-0.5, -0.3, 0.36, 0.34),
        polygon((-0.2, 0.02), (0.45, 0.0), (0.4, 0.42), (0.05, 0.4), tint=0.66),
        ellipse(-0.6, -0.36, 0.07, 0.08, INK),
    ),
}
