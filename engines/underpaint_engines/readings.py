"""The names that readings have as outputs of an exported graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from underpaint.engine import UNetCall

Reading = Literal["mean", "all", "feature"]

NOISE = "noise"


def output_name(site: str, reading: Reading) -> str:
    """Return the output that holds a site's map (mean of the heads, or all) or its activation."""
    return f"{site}.{reading}"


def map_outputs(call: UNetCall) -> Mapping[str, str]:
    """Return site name -> output for the maps that a call reads."""
    return {site: output_name(site, heads) for site, heads in call.maps.items()}


def feature_outputs(call: UNetCall) -> Mapping[str, str]:
    """Return site name -> output for the activations that a call reads."""
    return {site: output_name(site, "feature") for site in sorted(call.features)}
