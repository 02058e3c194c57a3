"""How one item is edited: a function for each way, which `methods` puts into its table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from PIL import Image
from underpaint import Method
from underpaint_asyrp import Asyrp
from underpaint_blended_latent_diffusion import BlendedLatentDiffusion
from underpaint_diffuse_it import DiffuseIt
from underpaint_every_object import EveryObject
from underpaint_initial_image_editing import LayoutToImage, Repaint
from underpaint_inversion import NegativePromptInversion
from underpaint_masactrl import MasaCtrl
from underpaint_null_text_inversion import NullTextInversion
from underpaint_pix2pix_zero import Pix2PixZero
from underpaint_prompt_to_prompt import PromptToPrompt
from underpaint_self_guidance import SelfGuidance, move, resize
from underpaint_self_guidance.changes import Change

from benchmarks.picturebench.items import Item
from benchmarks.picturebench.scenes import Mask, Pixels

Start = Literal["noise", "picture", "inverted", "path", "autoencoder", "given"]
"""What an edit starts from: the seed's noise; the picture, which the method puts under noise; the
picture, which the call inverts; the inversion that an item's methods share; no edit but encoder and
decoder; no model at all."""

STRENGTH = 0.6
"""Part of the noise range for the starts from a noised picture, as in benchmarks.diffuse_it."""

BIAS, GUIDANCE = 20.0, 1.0
"""Of layout's attention and of Pix2Pix-Zero: what their own benchmarks take on picturebook.

Pix2Pix-Zero's negative prompt is the call's, not the picture's as published: see `sweep`.
"""

BLEND = {"cross_replace": 0.4, "self_replace": 0.0, "threshold": 0.4}
"""Of Prompt-to-Prompt with LocalBlend, chosen on the tuning split: see `sweep`."""

TUNING_RATE = 0.02
"""Of null-text inversion by itself, chosen on `tune`: twelve steps want more than 0.01."""


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


def box_of(mask: Mask) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a mask [H, W], as fractions of the picture."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    (height, width), last = mask.shape, (columns[-1] + 1, rows[-1] + 1)
    return columns[0] / width, rows[0] / height, last[0] / width, last[1] / height


def p2p(*beside: Method, follow: bool = False) -> Callable[[Item], Call]:
    """Return Prompt-to-Prompt on the picture's inversion, with other methods beside it."""

    def make(item: Item) -> Call:
        swap = PromptToPrompt.model_validate({"source": item.source_prompt})
        return Call(item.target_prompt, [swap, *beside], follow=follow)

    return make


def p2p_blend(
    *beside: Method,
    cross_replace: float = BLEND["cross_replace"],
    self_replace: float = BLEND["self_replace"],
    threshold: float = BLEND["threshold"],
    follow: bool = False,
) -> Callable[[Item], Call]:
    """Return Prompt-to-Prompt with LocalBlend, with other methods beside it."""

    def make(item: Item) -> Call:
        blend: dict[str, Any] = {"threshold": threshold}
        if item.blended:
            old, new = item.blended
            blend |= {"words": (new,), "source_words": (old,)}
        values = {
            "source": item.source_prompt,
            "blend": blend,
            "cross_replace": cross_replace,
            "self_replace": self_replace,
        }
        edits = [PromptToPrompt.model_validate(values), *beside]
        return Call(item.target_prompt, edits, follow=follow)

    return make


def null_text_blend(item: Item, learning_rate: float = TUNING_RATE, follow: bool = False) -> Call:
    """Do that with the unconditional embedding tuned to the picture."""
    tuned = NullTextInversion.model_validate({"learning_rate": learning_rate})
    return p2p_blend(tuned, follow=follow)(item)


def sdedit(item: Item) -> Call:
    """Denoise the noised picture with the target's prompt (arXiv 2108.01073): no guidance."""
    return _noised(item, scale=0)


def diffuse_it(item: Item, strength: float = STRENGTH) -> Call:
    """Do the same with DiffuseIT's losses, by the gradient that leaves the UNet out."""
    return _noised(item, strength=strength, gradient="cheap")


def blended_diffuse_it(item: Item) -> Call:
    """Do that in the mask alone."""
    plain = diffuse_it(item)
    return replace(plain, edits=[*plain.edits, _in_mask(item)])


def _noised(item: Item, **values: Any) -> Call:
    fixed = {"source": item.source_prompt, "strength": STRENGTH}
    return Call(item.target_prompt, [DiffuseIt.model_validate(fixed | values)], "picture")


def blended(item: Item) -> Call | None:
    """Paint the target's prompt into the mask."""
    if item.mask.all():
        return None  # nothing would be kept: the method refuses it
    return Call(item.target_prompt, [_in_mask(item)], "picture")


def blended_p2p(item: Item) -> Call:
    """Paint it from the picture's own noise, with its attention."""
    swap = PromptToPrompt.model_validate({"source": item.source_prompt})
    edits = [swap, _in_mask(item, noise_mode="inverted")]
    return Call(item.target_prompt, edits, "inverted", follow=True)


def blended_layout(item: Item) -> Call | None:
    """Paint it with layout's attention bias for the object's box."""
    if item.focus is None:
        return None
    bias = LayoutToImage(boxes={item.focus: box_of(item.focus_mask)}, swap=False, bias=BIAS)
    return Call(item.target_prompt, [bias, _in_mask(item)], "picture")


def repaint(item: Item) -> Call:
    """Give the mask fresh noise, and keep the picture's pixels around it."""
    edit = Repaint(mask=_white(item), keep="exact", rank=False)
    return Call(item.target_prompt, [edit], "inverted", follow=True)


def pix2pix_zero(
    item: Item, attention_guidance: float = GUIDANCE, negative: str = "call"
) -> Call | None:
    """Swap the one word that differs."""
    if item.swapped is None:
        return None
    old, new = item.swapped
    values = {"attention_guidance": attention_guidance, "negative": negative}
    words = {"source_word": old, "target_word": new}
    edit = Pix2PixZero.model_validate(words | values)
    return Call(item.source_prompt, [edit], follow=True)


def pix2pix_zero_blend(item: Item, threshold: float = BLEND["threshold"]) -> Call | None:
    """Swap it within LocalBlend: Prompt-to-Prompt beside it takes over no attention."""
    plain = pix2pix_zero(item)
    if item.swapped is None or plain is None:
        return None
    old, _ = item.swapped
    values = {
        "source": item.source_prompt,
        "blend": {"words": (old,), "source_words": (old,), "threshold": threshold},
        "cross_replace": 0.0,
        "self_replace": 0.0,
    }
    return replace(plain, edits=[*plain.edits, PromptToPrompt.model_validate(values)])


def masactrl(item: Item) -> Call:
    """Draw the target's layout with what the picture's path shows (arXiv 2304.08465)."""
    edit = MasaCtrl.model_validate({"source": item.source_prompt})
    return Call(item.target_prompt, [edit], follow=True)


def every_object(item: Item) -> Call | None:
    """Denoise the inverted noise with the target's prompt, and excite all objects it names."""
    if item.truth is None:
        return None
    names = tuple(thing.placed.name for thing in item.truth.target.things)
    return Call(item.target_prompt, [EveryObject(objects=names)])


def asyrp(item: Item) -> Call | None:
    """Return a shipped attribute's edit, from the background that it was trained on."""
    if item.truth is None:
        return None
    places = item.truth.source.background, item.truth.target.background
    attribute = {("grass", "night"): "night", ("plain", "snow"): "snow"}.get(places)
    if attribute is None:
        return None
    edits = [Asyrp(attributes={attribute: 1.0}), NegativePromptInversion.model_validate({})]
    return Call(item.source_prompt, edits)


def self_guidance(
    item: Item, prompt: Literal["source", "target"] = "target", overshoot: float = 1.0
) -> Call | None:
    """Move and resize by the numbers of the scenes; the prompt says the place or size as well."""
    if item.truth is None:
        return None
    changes: list[Change] = []
    for old, new in zip(item.truth.source.things, item.truth.target.things, strict=True):
        was, to = old.placed, new.placed
        if (was.x, was.y) != (to.x, to.y):
            changes.append(move(was.name, right=to.x - was.x, down=to.y - was.y))
        if was.radius != to.radius:
            changes.append(resize(was.name, to.radius / was.radius))
    edit = SelfGuidance(*changes, source=item.source_prompt, overshoot=overshoot)
    return Call(
        item.source_prompt if prompt == "source" else item.target_prompt, [edit], follow=True
    )


def _in_mask(item: Item, **values: Any) -> BlendedLatentDiffusion:
    return BlendedLatentDiffusion(mask=_white(item), rank=False, **values)


def _white(item: Item) -> Image.Image:
    return Image.fromarray(item.mask.astype(np.uint8) * 255)
