"""The names of an exported UNet's outputs, and of what the graph of its gradients takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from underpaint.engine import UNetCall
from underpaint.records import Wrt

Reading = Literal["mean", "all", "feature"]

NOISE = "noise"
GRADIENT = "unet/gradient"
"""The graph of the edited UNet's gradients."""
LOSS_SCALE = "loss_scale"
_COTANGENT = "cotangent."


def output_name(site: str, reading: Reading) -> str:
    """Return the output that holds a site's map (mean of the heads, or all) or its activation."""
    return f"{site}.{reading}"


def map_outputs(call: UNetCall) -> Mapping[str, str]:
    """Return site name -> output for the maps that a call reads."""
    return {site: output_name(site, heads) for site, heads in call.maps.items()}


def feature_outputs(call: UNetCall) -> Mapping[str, str]:
    """Return site name -> output for the activations that a call reads."""
    return {site: output_name(site, "feature") for site in sorted(call.features)}


def is_mean(output: str) -> bool:
    """Tell whether an output is a map's mean over heads."""
    return output.endswith(".mean")


def cotangent_name(output: str) -> str:
    """Return the input that holds the cotangent of an output."""
    return f"{_COTANGENT}{output}"


def is_cotangent(name: str) -> bool:
    """Tell whether an input is a `cotangent_name`."""
    return name.startswith(_COTANGENT)


def gradient_name(wrt: Wrt) -> str:
    """Return the output that holds the gradient by an input of the UNet."""
    return f"gradient.{wrt}"


def is_gradient(output: str) -> bool:
    """Tell whether an output is a `gradient_name`."""
    return output.startswith("gradient.")
