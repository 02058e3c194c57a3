"""Where a UNet can be read and written: attention and activation sites, levels, selectors.

A *level* is log2 of the latent's side over the map's side: 0 is full latent resolution, 2 the
quarter (Stable Diffusion's "16x16 maps" at 512 pixels). Plugins choose sites by kind and level,
so a plugin works at every image size and on every model that declares its sites.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from underpaint.errors import UnknownSiteError

Kind = Literal["self", "cross", "activation"]
Place = Literal["down", "mid", "up"]


@dataclass(frozen=True)
class Site:
    """One place in the UNet.

    Attributes
    ----------
    name : the diffusers module path, e.g. ``up_blocks.1.attentions.0.transformer_blocks.0.attn2``.
    kind : ``self`` or ``cross`` attention, or an ``activation`` (a module's output).
    place : the part of the UNet it stands in.
    level : log2(latent side / side of the map or activation).
    heads : number of attention heads; 0 for an activation.
    channels : width of the activation or of the attention's output.
    """

    name: str
    kind: Kind
    place: Place
    level: int
    heads: int
    channels: int


@dataclass(frozen=True)
class SiteSelector:
    """Chooses sites by what they are; an empty field does not restrict."""

    kind: Kind
    levels: frozenset[int] = frozenset()
    places: frozenset[Place] = frozenset()
    names: frozenset[str] = frozenset()

    def matches(self, site: Site) -> bool:
        """Tell whether `site` is chosen."""
        return (
            site.kind == self.kind
            and (not self.levels or site.level in self.levels)
            and (not self.places or site.place in self.places)
            and (not self.names or site.name in self.names)
        )


@dataclass(frozen=True)
class Sites:
    """All sites of one model, in call order, and the level at which a word's map is read."""

    all: tuple[Site, ...]
    word_level: int

    def select(self, selector: SiteSelector) -> tuple[Site, ...]:
        """Return the chosen sites in call order.

        Raises
        ------
        UnknownSiteError
            If no site matches: an edit that would silently do nothing.
        """
        chosen = tuple(site for site in self.all if selector.matches(site))
        if not chosen:
            raise UnknownSiteError(f"No site matches {selector}. {self._inventory(selector.kind)}")
        return chosen

    def of_kind(self, kind: Kind) -> tuple[Site, ...]:
        """Return every site of one kind, in call order; may be empty."""
        return tuple(site for site in self.all if site.kind == kind)

    @property
    def deepest_level(self) -> int:
        """The level of the smallest maps; sides must be divisible by 2 to this power."""
        return max(site.level for site in self.all)

    def words(self) -> SiteSelector:
        """Select the cross maps of the down and up blocks at the word level (P2P's 16x16 maps)."""
        return SiteSelector(
            "cross", levels=frozenset({self.word_level}), places=frozenset({"down", "up"})
        )

    def _inventory(self, kind: Kind) -> str:
        lines = [f"{s.name} (level {s.level}, {s.place})" for s in self.of_kind(kind)]
        return f"The model's {kind} sites: {', '.join(lines) or 'none'}."
