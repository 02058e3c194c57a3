"""One function for each kind of edit: a scene, and what it becomes.

Each draws from `rng` until `picture_set` takes what it returns. The source keeps its horizon: in
the world another object is usually looked at from another height, but an edit is no other picture.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from underpaint_picturebook.backgrounds import BACKGROUNDS, COMBINED, GROUNDS, SIMPLE
from underpaint_picturebook.objects import OBJECTS
from underpaint_picturebook.palette import COLOURS
from underpaint_picturebook.styles import STYLES
from underpaint_picturebook.world import HORIZON, SIZES, Placed

from benchmarks.picturebench.edit_types import EditType
from benchmarks.picturebench.scenes import SceneSpec, Thing, article

SAYS_COLOUR = 0.8
"""Part of the objects whose prompt says the colour; the others must keep it all the same."""

PLACES = {" on the left": 0.28, " in the middle": 0.5, " on the right": 0.72}
"""Words for the place of a single object, and the x of its centre."""

WAYS = {
    " on the left": "to the left",
    " in the middle": "to the middle",
    " on the right": "to the right",
}
OPPOSITE = {" to the left of ": " to the right of ", " above ": " below "}
MATERIALS = {
    "grass": "grass", "water": "water", "grass in snow": "grass", "beach in snow": "sand",
    "water in snow": "water", "grass at night": "grass", "beach at night": "sand",
    "water at night": "water",
}  # fmt: skip
"""What the ground is made of, of the backgrounds that share their sky with another one."""

KINDS_OF_STYLE = {
    "none": "plain picture", "sketch": "pencil sketch", "watercolour": "watercolour",
    "pixel art": "pixel art",
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """A scene, what it becomes, and the words for it.

    `blended` are the words of the source and the target prompt whose places are blended, or None
    where one of them names nothing.
    """

    source: SceneSpec
    target: SceneSpec
    instruction: str
    blended: tuple[str, str] | None


def _thing(rng: random.Random, slot: int, x: float, y: float, radius: float) -> Thing:
    placed = Placed(rng.choice(list(OBJECTS)), rng.choice(list(COLOURS)), x, y, radius)
    return Thing(slot, placed, rng.random() < SAYS_COLOUR)


def _scene(rng: random.Random, things: tuple[Thing, ...]) -> SceneSpec:
    horizon = fmean(HORIZON[each.placed.name] for each in things) + rng.uniform(-0.04, 0.04)
    return SceneSpec(f"{rng.getrandbits(64):016x}", things, rng.choice(SIMPLE), horizon)


def _one(rng: random.Random) -> SceneSpec:
    """Return a scene of one object, placed as the world does."""
    x, y = rng.uniform(0.45, 0.55), rng.uniform(0.5, 0.62)
    thing = _thing(rng, 0, x, y, SIZES[""] * rng.uniform(0.94, 1.06))
    return _scene(rng, (thing,))


def _two(rng: random.Random, joints: tuple[str, ...] = (" and ",)) -> SceneSpec:
    """Return a scene of two different objects, side by side or one above the other."""
    joint = rng.choice(joints)
    radius, across = rng.uniform(0.19, 0.22), rng.uniform(0.48, 0.6)
    along = (0.27 + rng.uniform(-0.02, 0.02), 0.73 + rng.uniform(-0.02, 0.02))
    upright = joint == " above "
    first, second = (
        _thing(rng, slot, *((across, v) if upright else (v, across)), radius)
        for slot, v in enumerate(along)
    )
    while second.placed.name == first.placed.name:
        second = replace(second, placed=replace(second.placed, name=rng.choice(list(OBJECTS))))
    return replace(_scene(rng, (first, second)), joint=joint)


def _any(rng: random.Random) -> SceneSpec:
    return _one(rng) if rng.random() < 0.5 else _two(rng)


def _with(spec: SceneSpec, index: int, **values: Any) -> SceneSpec:
    """Return the scene with one object changed."""
    thing = spec.things[index]
    changed = replace(thing, placed=replace(thing.placed, **values))
    return replace(spec, things=(*spec.things[:index], changed, *spec.things[index + 1 :]))


def _other(rng: random.Random, valid: Iterable[str], *taken: str) -> str:
    return rng.choice([name for name in valid if name not in taken])


def change_object(rng: random.Random, spec: SceneSpec | None = None) -> Change:
    """Exchange an object for one of another kind, in its colour and place."""
    spec = spec or _any(rng)
    index = rng.randrange(len(spec.things))
    old = spec.things[index]
    new = _other(rng, OBJECTS, *(name for name, _ in spec.pairs))
    text = f"change the {old.phrase} into {article(new)} {new}"
    return Change(spec, _with(spec, index, name=new), text, (old.placed.name, new))


def add_object(rng: random.Random) -> Change:
    """Add an object to the right of the one that is there."""
    target = _two(rng)
    kept, added = target.things
    text = f"add {article(added.phrase)} {added.phrase} to the right of the {kept.phrase}"
    return Change(replace(target, things=(kept,)), target, text, None)


def delete_object(rng: random.Random) -> Change:
    """Take one of two objects away."""
    source = _two(rng)
    gone = rng.randrange(2)
    text = f"remove the {source.things[gone].phrase}"
    return Change(source, replace(source, things=(source.things[1 - gone],)), text, None)


def change_content(rng: random.Random) -> Change:
    """Make an object smaller or bigger: the size is what the world has of content."""
    spec = _one(rng)
    before, after = rng.sample(list(SIZES), 2)
    factor = spec.things[0].placed.radius / SIZES[""]
    source, target = (
        _with(spec, 0, radius=SIZES[size] * factor, size=size, y=0.54) for size in (before, after)
    )
    name = source.things[0].placed.name
    verb = "bigger" if SIZES[after] > SIZES[before] else "smaller"
    text = f"make the {source.things[0].phrase} {verb}"
    return Change(source, target, text, (name, name))


def change_pose(rng: random.Random) -> Change:
    """Move a single object to another place, or let two change places."""
    return _move_one(rng) if rng.random() < 0.5 else _change_places(rng)


def _move_one(rng: random.Random) -> Change:
    spec = _one(rng)
    before, after = rng.sample(list(PLACES), 2)
    source, target = (
        replace(_with(spec, 0, x=PLACES[place]), position=place) for place in (before, after)
    )
    thing = spec.things[0]
    text = f"move the {thing.phrase} to the {after.split()[-1]}"
    return Change(source, target, text, (thing.placed.name, thing.placed.name))


def _change_places(rng: random.Random) -> Change:
    source = _two(rng, tuple(OPPOSITE))
    first, second = source.things
    target = source
    for index, other in ((0, second.placed), (1, first.placed)):
        target = _with(target, index, x=other.x, y=other.y)
    target = replace(target, joint=OPPOSITE[source.joint])
    text = f"let the {first.phrase} and the {second.phrase} change places"
    return Change(source, target, text, (first.placed.name, first.placed.name))


def change_colour(rng: random.Random, spec: SceneSpec | None = None) -> Change:
    """Give an object another colour."""
    spec = spec or _any(rng)
    index = rng.randrange(len(spec.things))
    thing = replace(spec.things[index], says_colour=True)
    spec = replace(spec, things=(*spec.things[:index], thing, *spec.things[index + 1 :]))
    new = _other(rng, COLOURS, thing.placed.colour)
    text = f"make the {thing.phrase} {new}"
    return Change(
        spec, _with(spec, index, colour=new), text, (thing.placed.name, thing.placed.name)
    )


def change_material(rng: random.Random) -> Change:
    """Make the ground of something else and keep the sky: the world's objects have no material."""
    before = rng.choice(("grass", "water") if rng.random() < 0.5 else tuple(COMBINED))
    sky = BACKGROUNDS[before].sky
    after = rng.choice([n for n in MATERIALS if n != before and BACKGROUNDS[n].sky == sky])
    spec = replace(_one(rng), background=before)
    words = _ground_word(before), _ground_word(after)
    return Change(
        spec, replace(spec, background=after), f"make the ground of {MATERIALS[after]}", words
    )


def change_background(rng: random.Random, spec: SceneSpec | None = None) -> Change:
    """Put the scene on another background."""
    spec = spec or _any(rng)
    after = _other(rng, SIMPLE, spec.background)
    place = BACKGROUNDS[after].words[0] or "before a plain background"
    plain = "plain" in (spec.background, after)
    words = None if plain else (_ground_word(spec.background), _ground_word(after))
    return Change(spec, replace(spec, background=after), f"put it {place}", words)


def change_style(rng: random.Random) -> Change:
    """Draw the whole picture in another style, or in none."""
    before = "none" if rng.random() < 0.7 else rng.choice(list(STYLES))
    after = _other(rng, ("none", *STYLES), before)
    spec = replace(_one(rng), style=before)
    text = f"turn the picture into a {KINDS_OF_STYLE[after]}".replace("a pixel", "pixel")
    return Change(spec, replace(spec, style=after), text, None)


def change_two(rng: random.Random) -> Change:
    """Make two changes at once: of object, colour and background."""
    first, second = rng.sample((change_object, change_colour, change_background), 2)
    spec = _one(rng)
    done = first(rng, replace(spec, things=(replace(spec.things[0], says_colour=True),)))
    more = second(rng, done.target)
    text = f"{done.instruction}, and {more.instruction}"
    nouns = (scene.things[0].placed.name for scene in (done.source, more.target))
    return Change(done.source, more.target, text, (next(nouns), next(nouns)))


def _ground_word(background: str) -> str:
    """Return the word that names the ground, or else the place."""
    words = BACKGROUNDS[background].words[0].split()
    return next((word for word in words if word in GROUNDS), words[-1])


CHANGES: dict[EditType, Callable[[random.Random], Change]] = {
    EditType.RANDOM: change_two,
    EditType.CHANGE_OBJECT: change_object,
    EditType.ADD_OBJECT: add_object,
    EditType.DELETE_OBJECT: delete_object,
    EditType.CONTENT: change_content,
    EditType.POSE: change_pose,
    EditType.COLOUR: change_colour,
    EditType.MATERIAL: change_material,
    EditType.BACKGROUND: change_background,
    EditType.STYLE: change_style,
}
