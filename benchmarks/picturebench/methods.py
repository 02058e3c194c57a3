"""The one table of what is compared: which edits each method fits, and how it makes them.

Every method gets both prompts. `told` says what else it is told, which the others have to find.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import Image
from underpaint import Method
from underpaint_asyrp import Asyrp
from underpaint_blended_latent_diffusion import BlendedLatentDiffusion
from underpaint_diffuse_it import DiffuseIt
from underpaint_initial_image_editing import LayoutToImage, Repaint
from underpaint_inversion import NegativePromptInversion, ProxEdit
from underpaint_null_text_inversion import NullTextInversion
from underpaint_pix2pix_zero import Pix2PixZero
from underpaint_prompt_to_prompt import PromptToPrompt
from underpaint_self_guidance import SelfGuidance, move, resize
from underpaint_self_guidance.changes import Change

from benchmarks.picturebench.edit_types import ALL_TYPES, EditType
from benchmarks.picturebench.items import Item
from benchmarks.picturebench.scenes import Mask, Pixels

Told = Literal["prompts", "words", "mask", "place", "result"]
"""What a method is told: the prompts alone; the words to blend or swap; the exact mask (or its
box); where the object goes, in numbers; the expected result itself."""

Start = Literal["noise", "picture", "inverted", "path", "autoencoder", "given"]
"""What an edit starts from: the seed's noise; the picture, which the method puts under noise; the
picture, which the call inverts; the inversion that an item's methods share; no edit but encoder and
decoder; no model at all."""

STRENGTH = 0.6
"""Part of the noise range for the starts from a noised picture, as in benchmarks.diffuse_it."""

BIAS, GUIDANCE = 20.0, 1.0
"""Of layout's attention and of Pix2Pix-Zero: what their own benchmarks take on picturebook."""

LOCAL = ALL_TYPES - {EditType.STYLE}
WORDS = frozenset({EditType.CHANGE_OBJECT, EditType.CONTENT, EditType.COLOUR, EditType.MATERIAL})
SWAPS = frozenset({EditType.CHANGE_OBJECT, EditType.COLOUR})
NEW_OBJECTS = frozenset({EditType.CHANGE_OBJECT, EditType.ADD_OBJECT})
PLACED = frozenset({EditType.CONTENT, EditType.POSE})


@dataclass(frozen=True, eq=False)
class Call:
    """How one item is edited: the arguments of a call, and what it starts from.

    Attributes
    ----------
    follow : hold the source's branch to the picture's path (Direct Inversion, arXiv 2310.01506).
    picture : the result itself, where the start is "given".
    """

    prompt: str = ""
    edits: Sequence[Method] = ()
    start: Start = "path"
    follow: bool = False
    picture: Pixels | None = None

    def describe(self) -> dict[str, Any]:
        """Return JSON of all but pictures and masks, which the item's digest stands for."""
        edits = [
            {"method": edit.method, **edit.model_dump(mode="json", exclude={"mask"})}
            for edit in self.edits
        ]
        return {"prompt": self.prompt, "edits": edits, "start": self.start, "follow": self.follow}


@dataclass(frozen=True)
class EditMethod:
    """A row of the table; `make` returns None for an item of a fitting type that it cannot edit."""

    name: str
    types: frozenset[EditType]
    told: Told
    make: Callable[[Item], Call | None]

    def call(self, item: Item) -> Call | None:
        """Return how an item is edited; None where the method does not fit it."""
        return self.make(item) if item.type in self.types else None


def box_of(mask: Mask) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a mask [H, W], as fractions of the picture."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    (height, width), last = mask.shape, (columns[-1] + 1, rows[-1] + 1)
    return columns[0] / width, rows[0] / height, last[0] / width, last[1] / height


def _p2p(*beside: Method, follow: bool = False) -> Callable[[Item], Call]:
    """Return Prompt-to-Prompt on the picture's inversion, with other methods beside it."""

    def make(item: Item) -> Call:
        swap = PromptToPrompt.model_validate({"source": item.source_prompt})
        return Call(item.target_prompt, [swap, *beside], follow=follow)

    return make


def _p2p_blend(item: Item) -> Call:
    blend: dict[str, tuple[str, ...]] = {}
    if item.blended:
        old, new = item.blended
        blend = {"words": (new,), "source_words": (old,)}
    values = {"source": item.source_prompt, "blend": blend}
    return Call(item.target_prompt, [PromptToPrompt.model_validate(values)], follow=True)


def _noised(gradient_scale: float | None) -> Callable[[Item], Call]:
    """Return a start from the noised picture: SDEdit without a scale, else DiffuseIT's guidance."""
    values = {"gradient": "cheap"} if gradient_scale is None else {"scale": gradient_scale}

    def make(item: Item) -> Call:
        fixed = {"source": item.source_prompt, "strength": STRENGTH}
        return Call(item.target_prompt, [DiffuseIt.model_validate(fixed | values)], "picture")

    return make


def _in_mask(item: Item, **values: Any) -> BlendedLatentDiffusion:
    white = Image.fromarray(item.mask.astype(np.uint8) * 255)
    return BlendedLatentDiffusion(mask=white, rank=False, **values)


def _blended(item: Item) -> Call | None:
    if item.mask.all():
        return None  # nothing would be kept: the method refuses it
    return Call(item.target_prompt, [_in_mask(item)], "picture")


def _blended_p2p(item: Item) -> Call:
    swap = PromptToPrompt.model_validate({"source": item.source_prompt})
    edits = [swap, _in_mask(item, noise_mode="inverted")]
    return Call(item.target_prompt, edits, "inverted", follow=True)


def _blended_layout(item: Item) -> Call | None:
    if item.focus is None:
        return None
    bias = LayoutToImage(boxes={item.focus: box_of(item.focus_mask)}, swap=False, bias=BIAS)
    return Call(item.target_prompt, [bias, _in_mask(item)], "picture")


def _repaint(item: Item) -> Call:
    edit = Repaint(mask=box_of(item.mask), keep="exact", rank=False)
    return Call(item.target_prompt, [edit], "inverted", follow=True)


def _pix2pix_zero(item: Item) -> Call | None:
    if item.swapped is None:
        return None
    old, new = item.swapped
    edit = Pix2PixZero.model_validate(
        {"source_word": old, "target_word": new, "attention_guidance": GUIDANCE}
    )
    return Call(item.source_prompt, [edit], follow=True)


def _asyrp(item: Item) -> Call | None:
    """Return a shipped attribute's edit, from the background that it was trained on."""
    if item.truth is None:
        return None
    places = item.truth.source.background, item.truth.target.background
    attribute = {("grass", "night"): "night", ("plain", "snow"): "snow"}.get(places)
    if attribute is None:
        return None
    edits = [Asyrp(attributes={attribute: 1.0}), NegativePromptInversion.model_validate({})]
    return Call(item.source_prompt, edits)


def _self_guidance(item: Item) -> Call | None:
    if item.truth is None:
        return None
    changes: list[Change] = []
    for old, new in zip(item.truth.source.things, item.truth.target.things, strict=True):
        was, to = old.placed, new.placed
        if (was.x, was.y) != (to.x, to.y):
            changes.append(move(was.name, right=to.x - was.x, down=to.y - was.y))
        if was.radius != to.radius:
            changes.append(resize(was.name, to.radius / was.radius))
    return Call(item.source_prompt, [SelfGuidance(*changes)], follow=True)


_NPI = NegativePromptInversion.model_validate({})
_PROX = ProxEdit.model_validate({"inversion_guidance": {}})
_NULL = NullTextInversion.model_validate({})

REFERENCES = ("unedited", "autoencoder", "expected")
"""No edits: what the metrics say of the picture, of its way through the autoencoder, and of the
expected result, where anything short of full success is the judge's error."""

METHODS: tuple[EditMethod, ...] = (
    EditMethod(
        "unedited", ALL_TYPES, "prompts", lambda item: Call(start="given", picture=item.picture)
    ),
    EditMethod("autoencoder", ALL_TYPES, "prompts", lambda _: Call(start="autoencoder")),
    EditMethod(
        "expected",
        ALL_TYPES,
        "result",
        lambda item: Call(start="given", picture=item.truth.picture) if item.truth else None,
    ),
    EditMethod(
        "new-prompt", ALL_TYPES, "prompts", lambda item: Call(item.target_prompt, start="noise")
    ),
    EditMethod("sdedit", ALL_TYPES, "prompts", _noised(0.0)),
    EditMethod("ddim", ALL_TYPES, "prompts", lambda item: Call(item.target_prompt)),
    EditMethod("ddim+p2p", ALL_TYPES, "prompts", _p2p()),
    EditMethod("negative-prompt-inversion+p2p", ALL_TYPES, "prompts", _p2p(_NPI)),
    EditMethod("proxedit+p2p", ALL_TYPES, "prompts", _p2p(_PROX)),
    EditMethod("null-text-inversion+p2p", ALL_TYPES, "prompts", _p2p(_NULL)),
    EditMethod("directinversion+p2p", ALL_TYPES, "prompts", _p2p(follow=True)),
    EditMethod("directinversion+proxedit+p2p", ALL_TYPES, "prompts", _p2p(_PROX, follow=True)),
    EditMethod(
        "directinversion+p2p+localblend", WORDS | {EditType.ADD_OBJECT}, "words", _p2p_blend
    ),
    EditMethod("pix2pix-zero", SWAPS, "words", _pix2pix_zero),
    EditMethod(
        "diffuse-it", SWAPS | {EditType.BACKGROUND, EditType.STYLE}, "prompts", _noised(None)
    ),
    EditMethod("asyrp", frozenset({EditType.BACKGROUND}), "prompts", _asyrp),
    EditMethod("self-guidance", PLACED, "place", _self_guidance),
    EditMethod("blended-latent-diffusion", LOCAL, "mask", _blended),
    EditMethod("blended-latent-diffusion+p2p", WORDS, "mask", _blended_p2p),
    EditMethod("blended-latent-diffusion+layout", NEW_OBJECTS, "mask", _blended_layout),
    EditMethod("repaint", NEW_OBJECTS | {EditType.DELETE_OBJECT}, "mask", _repaint),
)

QUICK = (
    "unedited",
    "expected",
    "new-prompt",
    "ddim",
    "directinversion+p2p",
    "blended-latent-diffusion",
)
"""What `make bench-quality` compares."""


def choose(names: Sequence[str]) -> list[EditMethod]:
    """Return the methods of these names; "all" is all of them, "quick" those of `QUICK`.

    Raises
    ------
    UnknownMethodError
        For a name that is not in the table; the message lists what is.
    """
    known = {method.name: method for method in METHODS}
    groups = {"all": tuple(known), "quick": QUICK}
    wanted = dict.fromkeys(one for name in names for one in groups.get(name, (name,)))
    for name in wanted:
        if name not in known:
            raise UnknownMethodError(f"No method {name!r}. Valid: {', '.join((*groups, *known))}.")
    return [known[name] for name in wanted]


class UnknownMethodError(LookupError):
    """A method's name is not in the table."""
