"""Diffusion Self-Guidance for Controllable Image Generation (arXiv 2306.00986).

Eq. 3: ``e = e_u + s (e_c - e_u) + v sigma_t grad_x g``, where the energy g compares what the
model's own attention and activations say of the objects with what they should be. A second branch,
the original, shows the same objects without the edit, from the same noise. Not in the paper: the
objects' clean pictures are pulled along (`picture`), and the background is kept (`background`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import partial
from math import prod
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor
from underpaint.guidance import Guidance
from underpaint.method import Method, hookimpl
from underpaint.records import Branch, Conditioning, Needs, Prediction, Tap, Window
from underpaint.request import Request
from underpaint.run import Run
from underpaint.sites import Sites, SiteSelector
from underpaint.step import Step

from underpaint_self_guidance.background import Background
from underpaint_self_guidance.changes import (
    AppearanceOf,
    Borrow,
    Change,
    Collage,
    LayoutOf,
    Move,
    Resize,
    Rotate,
)
from underpaint_self_guidance.energies import Readings, Target, energy
from underpaint_self_guidance.picture import Pictured, picture_energy
from underpaint_self_guidance.recipe import Recipe
from underpaint_self_guidance.sources import ORIGINAL, NoisedPictures, Source, borrowed

Keep = Literal["everything", "shape", "appearance", "nothing"]
Real = Literal["inverted", "noised"]

FIELDS: dict[type[Change], str] = {
    Move: "move",
    Resize: "resize",
    Rotate: "rotate",
    AppearanceOf: "appearance_of",
    LayoutOf: "layout_of",
    Collage: "collage",
}


class SelfGuidance(Method):
    """Move, resize and restyle objects by energies on attention (arXiv 2306.00986).

    A change names the object by a word of the prompt: ``move("cat", right=0.2)`` in Python,
    ``--move "cat right 0.2"`` here. What is not named stays as it is in the original.
    """

    method: ClassVar[str] = "self-guidance"

    source: str | None = Field(
        None, description="What the original shows; left out: what the prompt says."
    )
    move: tuple[Move, ...] = Field(
        (),
        description='"cat right 0.2 up 0.1", or "cat to 0.3 0.5".',
        examples=[["dog right 0.2"]],
    )
    resize: tuple[Resize, ...] = Field((), description='"bus 1.5": width and height.')
    rotate: tuple[Rotate, ...] = Field((), description='"boat 30": degrees, clockwise.')
    appearance_of: tuple[AppearanceOf, ...] = Field(
        (), description='"cat other.png", or "cat prompt=\'a green dog\' like=dog".'
    )
    layout_of: tuple[LayoutOf, ...] = Field((), description="The same for place and outline.")
    collage: tuple[Collage, ...] = Field((), description="The same for all three.")
    keep: Keep = Field(
        "everything",
        description="What the other objects keep: shape alone is a new style in the same layout, "
        "appearance alone a new layout with the same look.",
    )
    others: tuple[str, ...] | None = Field(
        None,
        description="The words that energies keep; left out: none where the background is kept, "
        "else what the prompt seems to name.",
    )
    original_seed: int | None = Field(
        None, ge=0, description="Of the original's noise; left out: the call's."
    )
    real: Real = Field(
        "inverted", description="How the original follows a picture: inverted, or noised forward."
    )
    strength: float = Field(
        1.0, ge=0, description="v of eq. 3, for each number of a latent; 0 is no edit."
    )
    limit: float = Field(
        1.0,
        gt=0,
        description="Greatest change of one number of the noise, of variance 1, by the energies.",
    )
    overshoot: float = Field(
        1.5,
        gt=0,
        description="Power of a resize's factor that is asked of the maps: pictures follow them "
        "part of the way; ours, not the paper's.",
    )
    pull: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Part of the way that an object's clean picture is pulled, at each guided "
        "step, to where it goes or to what it borrows; ours: 0 leaves all to the paper's energies.",
    )
    centroid: float = Field(1.0, ge=0, description="Weight of an object's place.")
    size: float = Field(0.5, ge=0, description="Weight of its size.")
    shape: float = Field(4.0, ge=0, description="Weight of its outline.")
    appearance: float = Field(0.1, ge=0, description="Weight of its look; large ones leak places.")
    always: float = Field(
        0.8, ge=0, le=1, description="Part of the noise range that is guided at each step."
    )
    until: float = Field(
        0.8, ge=0, le=1, description="Part up to which every other step is guided."
    )
    keep_background: bool = Field(
        True,
        description="Keep the original's latents outside of what changes; ours, not the paper's.",
    )
    levels: tuple[int, ...] = Field(
        (), description="Levels of the maps; left out: that of the word maps and smaller ones."
    )
    features: str | None = Field(
        None, description="The activation that is an object's look; left out: the last but one."
    )

    def __init__(self, *changes: Change, **values: Any) -> None:
        """Sort `changes` into their fields; `values` are the fields themselves."""
        for change in changes:
            name = FIELDS[type(change)]
            values[name] = (*values.get(name, ()), change)
        super().__init__(**values)

    @property
    def blends(self) -> bool:
        """Whether the latents outside of what changes are the original's."""
        changes = (*self.move, *self.resize, *self.rotate, *self.borrows)
        return bool(self.keep_background and self.keep == "everything" and changes)

    @property
    def borrows(self) -> tuple[Borrow, ...]:
        """All that is taken from other pictures."""
        return (*self.appearance_of, *self.layout_of, *self.collage)

    def start(self) -> SelfGuidanceRun:
        """Return the plugin of one run."""
        return SelfGuidanceRun(self)


class SelfGuidanceRun:
    """One run: the objects' targets, found once, and the pictures that are noised forward."""

    targets: tuple[Target, ...] = ()
    pictured: tuple[Pictured, ...] = ()

    def __init__(self, edit: SelfGuidance) -> None:
        self.edit = edit
        self.sources = borrowed(edit.borrows)
        self.pictures = NoisedPictures()
        self.background: Background | None = None

    @hookimpl
    def needs(self, request: Request) -> Needs:
        """Read maps and an activation while steps are guided, and differentiate them."""
        edit, readings = self.edit, self._readings(request)
        window = Window(0.0, max(edit.always, edit.until))
        activation = SiteSelector("activation", names=frozenset({readings.features}))
        maps = Tap(readings.maps, during=Window() if self._keeps else window)
        taps = (maps, Tap(activation, during=window))
        return Needs(
            taps, gradient=frozenset({"sample"}), image=request.image is not None and self._noised
        )

    @hookimpl
    def branches(self, request: Request) -> Sequence[Branch]:
        """Make the original beside each image, and each picture that is borrowed from."""
        noised = self._noised and request.image is not None
        original = Branch(
            ORIGINAL,
            self.edit.source,
            guidance_scale=1.0 if noised else None,
            real=not self._noised,
        )
        return [original, *(source.branch() for source in self._others())]

    @hookimpl(wrapper=True)
    def conditioning(self, run: Run) -> Generator[None, Conditioning, Conditioning]:
        """Find the words, once a run and before anything is computed."""
        recipe = Recipe(self.edit, self.sources, run)
        self.targets = recipe.targets()
        self.pictured = recipe.pictured()
        if self._keeps:
            self.background = Background(recipe.changed(), self._readings(run.request))
        return (yield)

    @hookimpl(wrapper=True)
    def initial_latents(self, run: Run) -> Generator[None, Tensor, Tensor]:
        """Start generated branches at their own seeds, and noised ones at their pictures."""
        latents = yield
        latents = latents.clone()
        original = Source(ORIGINAL, self.edit.source, seed=self.edit.original_seed)
        for source in (original, *self._others()):
            if source.seed is not None and source.image is None:
                latents[run.layout.trajectories_of(source.name)] = source.noise(run)
        self._open_pictures(run, original)
        return self.pictures.put(run, run.moves[0].t, latents)

    @hookimpl
    def guidance(self, step: Step) -> Sequence[Guidance]:
        """Go down the energy, at the steps that are guided."""
        if step.move.kind != "denoise" or not self._guides(step):
            return []
        edit, request = self.edit, step.run.request
        readings = self._readings(request)
        found = []
        if self.targets:
            function = partial(energy, targets=self.targets, readings=readings)
            scale = edit.strength * prod(request.latent_shape)
            # Energies read the cond row alone.
            found.append(Guidance(function, scale, halves=("cond",), limit=edit.limit))
        if self.pictured and edit.pull:
            function = partial(
                picture_energy, pictured=self.pictured, readings=readings, alpha=step.alpha
            )
            found.append(Guidance(function, edit.pull * min(1.0, edit.strength), halves=()))
        return found

    @hookimpl(wrapper=True)
    def advance(self, step: Step, prediction: Prediction) -> Generator[None, Tensor, Tensor]:
        """Put the noised pictures on their next level, and keep the background."""
        latents = yield
        latents = self.pictures.put(step.run, step.move.next_t, latents)
        if self.background is None or prediction.maps is None:
            return latents
        self.background.add(prediction.maps)
        return self.background.keep(latents, step.layout)

    @property
    def _noised(self) -> bool:
        return self.edit.real == "noised"

    @property
    def _keeps(self) -> bool:
        return self.edit.blends and self.edit.strength > 0

    def _others(self) -> list[Source]:
        sources = dict.fromkeys(self.sources.values())
        return [source for source in sources if source.name != ORIGINAL]

    def _open_pictures(self, run: Run, original: Source) -> None:
        for source in self._others():
            if source.image is not None:
                self.pictures.add(run, source)
        if self._noised and run.request.image is not None:
            self.pictures.add(run, original, run.request.image.pixels)

    def _guides(self, step: Step) -> bool:
        """Every step of the first part, every other one of the next, none at the end."""
        edit = self.edit
        if Window(0.0, edit.always).contains(step.progress):
            return True
        between = Window(edit.always, max(edit.always, edit.until))
        return between.contains(step.progress) and step.index % 2 == 0

    def _readings(self, request: Request) -> Readings:
        sites = request.model.sites
        levels = self.edit.levels or range(sites.word_level, sites.deepest_level + 1)
        return Readings(
            SiteSelector("cross", levels=frozenset(levels)),
            self.edit.features or last_features(sites),
        )


def last_features(sites: Sites) -> str:
    """Return the output of the decoder's last layer but one, or the last activation.

    In Stable Diffusion 1.x that is ``up_blocks.3.resnets.1``: the block's own output is its last
    layer's.
    """
    activations = sites.of_kind("activation")
    up = [site for site in activations if site.place == "up"]
    return (up[-3] if len(up) > 2 else activations[-1]).name
