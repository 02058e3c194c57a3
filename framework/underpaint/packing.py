"""From what plugins say to what engines take: attention edits as tensors, taps as names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

from torch import Tensor

from underpaint.engine import EditInputs
from underpaint.errors import InvalidRequestError, UnknownSiteError, choices
from underpaint.layout import Layout
from underpaint.records import AttentionEdit, Heads, Tap
from underpaint.sites import Kind, Sites

_GATES = ("self_q", "self_k", "self_v")


def resolve_taps(
    taps: Iterable[Tap], sites: Sites, progress: float
) -> tuple[dict[str, Heads], frozenset[str]]:
    """Return the attention sites to read, with their heads, and the activations to read.

    Where one tap wants a head mean and another all heads, the engine gives all heads.
    """
    maps: dict[str, Heads] = {}
    features: set[str] = set()
    for tap in taps:
        if not tap.during.contains(progress):
            continue
        for site in sites.select(tap.selector):
            if site.kind == "activation":
                features.add(site.name)
            else:
                maps[site.name] = "all" if maps.get(site.name) == "all" else tap.heads
    return maps, frozenset(features)


def pack_edits(
    edits: Sequence[AttentionEdit], layout: Layout, sites: Sites, length: int
) -> EditInputs | None:
    """Return the edits as engine inputs, or None without edits.

    `edits` must be free of conflicts (`find_conflict`). Edits whose target has no row in `layout`
    are left out.
    """
    if not edits:
        return None
    names = [site.name for site in sites.of_kind("self")]
    inputs = EditInputs.identity(len(layout.rows), length, len(names))
    bias: dict[str, Tensor] = {}
    for edit in edits:
        target = layout.rows_of(edit.target, edit.half)
        if not target:
            continue
        if reads_source(edit):
            inputs.source_row[target] = inputs.source_row.new_tensor(_source(edit, layout))
        if edit.cross_map is not None:
            inputs.cross_map[target] = edit.cross_map.to(inputs.cross_map)
        if edit.cross_scale is not None:
            inputs.cross_scale[target] = edit.cross_scale.to(inputs.cross_scale)
        for gate in _GATES:
            for name in getattr(edit, gate):
                getattr(inputs, gate)[names.index(_known(name, sites, "self")), target] = True
        for name, value in edit.cross_bias.items():
            _known(name, sites, "cross")
            empty = value.new_zeros(len(layout.rows), *value.shape[-2:])
            bias.setdefault(name, empty)[target] = value
    return EditInputs(
        inputs.source_row,
        inputs.cross_map,
        inputs.cross_scale,
        inputs.self_q,
        inputs.self_k,
        inputs.self_v,
        bias,
    )


def find_conflict(edits: Sequence[AttentionEdit]) -> tuple[int, int, str] | None:
    """Return the indices of two edits that write the same thing, and what; None if none do."""
    for (i, a), (j, b) in combinations(enumerate(edits), 2):
        if (a.target, a.half) == (b.target, b.half) and (clash := _shared(a, b)):
            return i, j, f"{clash} of branch {a.target!r} ({a.half} half)"
    return None


def _shared(a: AttentionEdit, b: AttentionEdit) -> str | None:
    if a.source != b.source and reads_source(a) and reads_source(b):
        return f"the source row ({a.source!r} and {b.source!r})"
    for field in ("cross_map", "cross_scale"):
        if getattr(a, field) is not None and getattr(b, field) is not None:
            return f"the {field}"
    for gate in _GATES:
        if getattr(a, gate) & getattr(b, gate):
            return f"{gate} of {sorted(getattr(a, gate) & getattr(b, gate))[0]}"
    both = a.cross_bias.keys() & b.cross_bias.keys()
    return f"the cross_bias of {sorted(both)[0]}" if both else None


def reads_source(edit: AttentionEdit) -> bool:
    """Tell whether an edit takes anything from its source's row."""
    return edit.cross_map is not None or any(getattr(edit, gate) for gate in _GATES)


def _source(edit: AttentionEdit, layout: Layout) -> list[int]:
    rows = layout.rows_of(edit.source, edit.half)
    if not rows:
        raise InvalidRequestError(
            f"An attention edit of {edit.target!r} reads the {edit.half} half of {edit.source!r}, "
            "which has no such row: it follows a trajectory, or its guidance_scale is 1 or less."
        )
    return rows


def _known(name: str, sites: Sites, kind: Kind) -> str:
    names = [site.name for site in sites.of_kind(kind)]
    if name not in names:
        raise UnknownSiteError(f"No {kind}-attention site {name!r}. {choices(name, names)}")
    return name
