"""The one table of what is compared: which edits each method fits, and how it makes them.

Every method gets both prompts. `told` says what else it is told, which the others have to find.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from underpaint_inversion import NegativePromptInversion, ProxEdit
from underpaint_null_text_inversion import NullTextInversion

from benchmarks.picturebench.calls import (
    TUNING_RATE,
    Call,
    asyrp,
    blended,
    blended_diffuse_it,
    blended_layout,
    blended_p2p,
    diffuse_it,
    every_object,
    masactrl,
    null_text_blend,
    p2p,
    p2p_blend,
    pix2pix_zero,
    pix2pix_zero_blend,
    repaint,
    sdedit,
    self_guidance,
)
from benchmarks.picturebench.edit_types import ALL_TYPES, EditType
from benchmarks.picturebench.items import Item

Told = Literal["prompts", "words", "mask", "place", "result"]
"""What a method is told: the prompts alone; the words to blend or swap; the exact mask (or its
box); where the object goes, in numbers; the expected result itself."""

LOCAL = ALL_TYPES - {EditType.STYLE}
WORDS = frozenset({EditType.CHANGE_OBJECT, EditType.CONTENT, EditType.COLOUR, EditType.MATERIAL})
SWAPS = frozenset({EditType.CHANGE_OBJECT, EditType.COLOUR})
SWAPPED = SWAPS | {EditType.MATERIAL}
NEW_OBJECTS = frozenset({EditType.CHANGE_OBJECT, EditType.ADD_OBJECT})
PLACED = frozenset({EditType.CONTENT, EditType.POSE})
ADDED = frozenset({EditType.ADD_OBJECT})
BACKGROUND = frozenset({EditType.BACKGROUND})
TRANSLATIONS = SWAPS | {EditType.BACKGROUND, EditType.STYLE}


@dataclass(frozen=True)
class EditMethod:
    """A row of the table; `make` returns None for an item of a fitting type that it cannot edit.

    `purpose` are the types that its paper is for, of those it fits; none for what is no method.
    """

    name: str
    types: frozenset[EditType]
    told: Told
    make: Callable[[Item], Call | None]
    purpose: frozenset[EditType] = frozenset()

    def call(self, item: Item) -> Call | None:
        """Return how an item is edited; None where the method does not fit it."""
        return self.make(item) if item.type in self.types else None


_NPI = NegativePromptInversion.model_validate({})
_PROX = ProxEdit.model_validate({"inversion_guidance": {}})
_NULL = NullTextInversion.model_validate({"learning_rate": TUNING_RATE})

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
    EditMethod("sdedit", ALL_TYPES, "prompts", sdedit),
    EditMethod("ddim", ALL_TYPES, "prompts", lambda item: Call(item.target_prompt)),
    EditMethod("ddim+p2p", ALL_TYPES, "prompts", p2p(), SWAPPED),
    EditMethod("negative-prompt-inversion+p2p", ALL_TYPES, "prompts", p2p(_NPI), SWAPPED),
    EditMethod("proxedit+p2p", ALL_TYPES, "prompts", p2p(_PROX), SWAPPED),
    EditMethod("null-text-inversion+p2p", ALL_TYPES, "prompts", p2p(_NULL), SWAPPED),
    EditMethod("directinversion+p2p", ALL_TYPES, "prompts", p2p(follow=True), SWAPPED),
    EditMethod(
        "directinversion+proxedit+p2p", ALL_TYPES, "prompts", p2p(_PROX, follow=True), SWAPPED
    ),
    EditMethod("null-text-inversion+p2p+localblend", SWAPS, "words", null_text_blend, SWAPS),
    EditMethod(
        "directinversion+null-text-inversion+p2p+localblend",
        SWAPS,
        "words",
        lambda item: null_text_blend(item, learning_rate=0.01, follow=True),  # the published rate
        SWAPS,
    ),
    EditMethod(
        "directinversion+p2p+localblend",
        WORDS | {EditType.ADD_OBJECT},
        "words",
        p2p_blend(follow=True),
        SWAPPED,
    ),
    EditMethod("pix2pix-zero", SWAPS, "words", pix2pix_zero, SWAPS),
    EditMethod("pix2pix-zero+localblend", SWAPS, "words", pix2pix_zero_blend, SWAPS),
    EditMethod("diffuse-it", TRANSLATIONS, "prompts", diffuse_it, TRANSLATIONS),
    EditMethod("asyrp", BACKGROUND, "prompts", asyrp, BACKGROUND),
    EditMethod("masactrl", PLACED, "prompts", masactrl, PLACED),
    EditMethod("every-object", ADDED, "words", every_object, ADDED),
    EditMethod("self-guidance", PLACED, "place", self_guidance, PLACED),
    EditMethod("blended-latent-diffusion", LOCAL, "mask", blended, LOCAL),
    EditMethod("blended-latent-diffusion+p2p", WORDS, "mask", blended_p2p, SWAPPED),
    EditMethod("blended-latent-diffusion+diffuse-it", SWAPS, "mask", blended_diffuse_it, SWAPS),
    EditMethod("blended-latent-diffusion+layout", NEW_OBJECTS, "mask", blended_layout, NEW_OBJECTS),
    EditMethod("repaint", NEW_OBJECTS | {EditType.DELETE_OBJECT}, "mask", repaint, NEW_OBJECTS),
)

PAPERS = {
    "Prompt-to-Prompt": "directinversion+p2p+localblend",
    "null-text inversion": "directinversion+null-text-inversion+p2p+localblend",
    "Blended Latent Diffusion": "blended-latent-diffusion",
    "initial-image editing": "repaint",
    "Pix2Pix-Zero": "pix2pix-zero+localblend",
    "Self-Guidance": "self-guidance",
    "DiffuseIT": "diffuse-it",
    "Asyrp": "asyrp",
}
"""The row that stands for each paper: on Direct Inversion with LocalBlend, where it swaps words."""

QUICK = (
    "unedited",
    "expected",
    "new-prompt",
    "sdedit",
    "ddim",
    "directinversion+p2p",
    "directinversion+p2p+localblend",
    "blended-latent-diffusion",
    "repaint",
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
