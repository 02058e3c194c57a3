"""Attention maps of one step, by site and by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from underpaint.errors import UnknownSiteError
from underpaint.layout import Layout
from underpaint.records import AttentionEdit, Half
from underpaint.sites import Site, SiteSelector


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """Attention probabilities of the tapped sites.

    Attributes
    ----------
    layout : the rows.
    latent_size : (h, w) of the latents, from which each site's grid follows.
    values : site -> ``[R, H, N, L]`` fp32: rows, heads (1 for head means), queries, keys.
    """

    layout: Layout
    latent_size: tuple[int, int]
    values: Mapping[Site, Tensor]

    def select(self, selector: SiteSelector) -> AttentionMaps:
        """Return the maps of the chosen sites.

        Raises
        ------
        UnknownSiteError
            If none of the chosen sites was tapped at this step.
        """
        chosen = {site: value for site, value in self.values.items() if selector.matches(site)}
        if not chosen:
            raise UnknownSiteError(
                f"No tapped map matches {selector}. Tapped: "
                f"{', '.join(site.name for site in self.values) or 'none'}. "
                "Ask for it in needs(request)."
            )
        return replace(self, values=chosen)

    def of(self, branch: str, half: Half = "cond") -> dict[Site, Tensor]:
        """Return the maps of one branch and half, ``[I, H, N, L]`` per site."""
        rows = self.layout.rows_of(branch, half)
        return {site: value[rows] for site, value in self.values.items()}

    def words(self, branch: str, half: Half = "cond") -> Tensor:
        """Average over sites (of one size) and heads: ``[I, L, rows, columns]``."""
        maps = self.of(branch, half)
        mean = torch.stack([value.mean(1) for value in maps.values()]).mean(0)  # [I, N, L]
        return mean.transpose(1, 2).reshape(*mean.shape[::2], *self.grid(next(iter(maps))))

    def grid(self, site: Site) -> tuple[int, int]:
        """Return (rows, columns) of a site's queries."""
        return self.latent_size[0] >> site.level, self.latent_size[1] >> site.level

    def edited(self, edit: AttentionEdit) -> AttentionMaps:
        """Return a copy in which the target's cross maps are ``A_source P + A diag(d)``."""
        return self.with_edits([edit])

    def with_edits(self, edits: Iterable[AttentionEdit]) -> AttentionMaps:
        """Return a copy with every edit applied; each reads the maps as they were before all."""
        chosen = list(edits)
        values = {
            site: _edit_rows(value, chosen, self.layout) if site.kind == "cross" else value
            for site, value in self.values.items()
        }
        return replace(self, values=values)


def _edit_rows(value: Tensor, edits: Sequence[AttentionEdit], layout: Layout) -> Tensor:
    edited = value.clone()
    for edit in edits:
        if edit.cross_scale is not None:
            scale = edit.cross_scale.to(value)
            target = layout.rows_of(edit.target, edit.half)
            edited[target] = edited[target] * scale.reshape(-1, 1, 1, scale.shape[-1])
    for edit in edits:
        if edit.cross_map is not None:
            matrix = edit.cross_map.to(value)
            matrix = matrix.reshape(-1, 1, *matrix.shape[-2:])
            target = layout.rows_of(edit.target, edit.half)
            source = layout.rows_of(edit.source, edit.half)
            edited[target] = edited[target] + value[source] @ matrix
    return edited
