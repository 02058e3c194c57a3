"""The ten named colours, as sRGB triples in 0-255."""

import random

Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "red": (214, 40, 44),
    "orange": (245, 140, 30),
    "yellow": (248, 216, 56),
    "green": (40, 150, 62),
    "blue": (40, 96, 214),
    "purple": (130, 62, 186),
    "pink": (246, 138, 184),
    "white": (246, 246, 246),
    "black": (36, 36, 42),
    "brown": (132, 82, 44),
}


def shade(colour: Colour, factor: float) -> Colour:
    """Multiply a colour by `factor` (1 leaves it as it is), clipped to 0-255."""
    red, green, blue = (int(max(0, min(255, value * factor))) for value in colour)
    return red, green, blue


def jitter(colour: Colour, rng: random.Random, amount: float = 9.0) -> Colour:
    """Move each channel by up to `amount`, clipped to 0-255."""
    moved = (value + rng.uniform(-amount, amount) for value in colour)
    red, green, blue = (int(max(0, min(255, value))) for value in moved)
    return red, green, blue
