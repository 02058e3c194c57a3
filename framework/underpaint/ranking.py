"""Which images of a call are tries at one thing, and their order by a score."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from underpaint.errors import InvalidRequestError
from underpaint.request import Request


def groups(request: Request) -> list[list[int]]:
    """Return the places of the images that are tries at one thing: one prompt, one picture."""
    found: dict[tuple[str, str], list[int]] = {}
    for image, prompt in enumerate(request.prompts):
        found.setdefault((prompt, _picture(request, image)), []).append(image)
    return list(found.values())


def best_first(request: Request, scores: Sequence[float]) -> list[int]:
    """Return an order for `Result.reordered`: the tries at each prompt and picture, best first.

    Tries change places among themselves alone, so the result still goes along with the prompts and
    pictures of the call. Equal scores keep their order.

    Raises
    ------
    InvalidRequestError
        If there is not one score per image.
    """
    if len(scores) != request.images:
        raise InvalidRequestError(
            f"{len(scores)} scores for {request.images} images: give one per image."
        )
    order = [0] * request.images
    for places in groups(request):
        ranked = sorted(places, key=lambda image: -scores[image])
        for place, image in zip(places, ranked, strict=True):
            order[place] = image
    return order


def _picture(request: Request, image: int) -> str:
    """Return what tells the picture of an image from others; empty where there is none."""
    if request.image is not None:
        return request.image.take([image]).digest
    if request.trajectory is not None:  # without the picture: its clean end tells it
        clean = request.trajectory.take([image]).at(-1)
        return hashlib.sha256(clean.cpu().contiguous().numpy().tobytes()).hexdigest()
    return ""
