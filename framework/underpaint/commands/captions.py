"""What a sheet says and shows about one result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from underpaint.errors import UnknownWordError

if TYPE_CHECKING:
    from underpaint.result import Result, WordMaps


def seen_words(maps: WordMaps, words: Sequence[str]) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """Yield each word of the first image with its map.

    Words that the model did not see, behind the end of a long prompt, are left out; the result
    carries a warning about them.
    """
    for word in words:
        try:
            values = maps[word][0]
        except UnknownWordError:
            continue
        yield word, values.cpu().numpy()


def footer(result: Result) -> str:
    """Return the small print: what made the pictures, and how to read the maps."""
    recipe = result.recipe
    parts = [
        *(edit["method"] for edit in recipe["edits"]),
        recipe["model"],
        f"seed {', '.join(map(str, dict.fromkeys(recipe['seed'])))}",
        f"{recipe['num_inference_steps']} steps",
        f"guidance {recipe['guidance_scale']:g}",
        "bright: where the model looks for the word",
    ]
    return "  ·  ".join(parts)
