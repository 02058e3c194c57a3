"""A call as the inputs of an exported graph: what the call leaves out changes nothing."""

from __future__ import annotations

import torch
from torch import Tensor
from underpaint.engine import EditInputs, ModelInfo, UNetCall

from underpaint_engines.calls import hidden_shape, token_count

_BIAS = ".bias"


def bias_input(site: str) -> str:
    """Return the input that is added to the logits of a cross site."""
    return f"{site}{_BIAS}"


def is_bias(name: str) -> bool:
    """Tell whether an input is a `bias_input`."""
    return name.endswith(_BIAS)


def graph_inputs(
    call: UNetCall, info: ModelInfo, device: torch.device, *, biased: bool
) -> dict[str, Tensor]:
    """Return every input of the graph with edits, in its order; the plain graph takes its own.

    `biased` tells whether the graph adds a bias at every cross site.
    """
    rows, delta = len(call.sample), call.hidden_delta
    gates = len(info.sites.of_kind("self"))
    edits = call.edits or EditInputs.identity(rows, info.context_length, gates, device)
    if delta is None:
        delta = torch.zeros(hidden_shape(call.sample, info), device=device)
    return {
        "sample": call.sample,
        "timestep": call.timestep,
        "context": call.context,
        "source_row": edits.source_row,
        "cross_map": edits.cross_map,
        "cross_scale": edits.cross_scale,
        "self_q": edits.self_q,
        "self_k": edits.self_k,
        "self_v": edits.self_v,
        "hidden_delta": delta,
        **(_biases(call, edits, info, device) if biased else {}),
        **call.extra,
    }


def _biases(
    call: UNetCall, edits: EditInputs, info: ModelInfo, device: torch.device
) -> dict[str, Tensor]:
    """Return the bias of every cross site; those without one share the zeros of their level."""
    rows, _, height, width = call.sample.shape
    sites = info.sites.of_kind("cross")
    tokens = {site.level: token_count(site, (height, width)) for site in sites}
    zeros = {
        level: torch.zeros(rows, count, info.context_length, device=device)
        for level, count in tokens.items()
    }
    return {
        bias_input(site.name): edits.cross_bias.get(site.name, zeros[site.level]) for site in sites
    }
