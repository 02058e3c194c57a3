"""The names that readings have as outputs of an exported graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor
from underpaint.engine import UNetCall, UNetOutput

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


def call_outputs(call: UNetCall) -> frozenset[str]:
    """Return the outputs that a call reads."""
    return frozenset({NOISE, *map_outputs(call).values(), *feature_outputs(call).values()})


def unet_output(call: UNetCall, values: Mapping[str, Tensor]) -> UNetOutput:
    """Return what a call reads, from the values of the outputs."""
    return UNetOutput(
        noise=values[NOISE],
        maps={site: values[name] for site, name in map_outputs(call).items()},
        features={site: values[name] for site, name in feature_outputs(call).items()},
    )
