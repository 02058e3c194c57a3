"""Checks of a call before the UNet sees it: shapes and names only, so the device never waits."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor
from underpaint.engine import EditInputs, ModelInfo, UNetCall
from underpaint.errors import InvalidRequestError, NotOfferedError, UnknownSiteError, choices
from underpaint.records import Heads
from underpaint.sites import Kind, Site

SELF_MAP_LIMIT = 32 * 32
"""Self maps above this many tokens take gigabytes per step and are not offered."""

EXTRA_INPUTS = frozenset({"class_labels", "encoder_attention_mask", "timestep_cond"})


def check_call(call: UNetCall, info: ModelInfo, max_rows: int) -> None:
    """Raise an error that names the field if a call cannot be run.

    Raises
    ------
    InvalidRequestError
        For a shape, dtype or extra input that does not fit.
    UnknownSiteError
        For a reading or a bias at a site that the model does not have.
    NotOfferedError
        For self maps that are too large at the call's latent size.
    """
    if call.sample.dim() != 4 or call.sample.shape[1] != info.latent_channels:
        _refuse("sample", call.sample, f"[R, {info.latent_channels}, h, w]")
    rows, _, *size = call.sample.shape
    if not 1 <= rows <= max_rows:
        raise InvalidRequestError(f"sample: {rows} rows; the engine takes 1 to {max_rows} a call.")
    _shape("timestep", call.timestep, (rows,))
    _shape("context", call.context, (rows, info.context_length, info.context_width))
    unknown = sorted(call.extra.keys() - EXTRA_INPUTS)
    if unknown:
        raise InvalidRequestError(f"extra: {unknown[0]!r}. {choices(unknown[0], EXTRA_INPUTS)}")
    for name, value in call.extra.items():
        if value.shape[:1] != (rows,):
            _refuse(f"extra[{name!r}]", value, f"[{rows}, ...]")
    if call.hidden_delta is not None:
        _shape("hidden_delta", call.hidden_delta, hidden_shape(call.sample, info))
    if call.edits is not None:
        _check_edits(call.edits, info, rows, (size[0], size[1]))
    _check_readings(call, info, (size[0], size[1]))


def check_images(images: Tensor, info: ModelInfo) -> None:
    """Raise InvalidRequestError unless these are images ``[B, 3, H, W]`` that the VAE takes."""
    factor = info.vae_factor
    if images.dim() != 4 or images.shape[1] != 3 or any(s % factor for s in images.shape[2:]):
        raise InvalidRequestError(
            f"images: expected [B, 3, H, W] with sides that are multiples of {factor}, got "
            f"{list(images.shape)}."
        )


def check_latents(latents: Tensor, info: ModelInfo) -> None:
    """Raise InvalidRequestError unless these are latents ``[B, C, h, w]`` of the model."""
    channels = info.latent_channels
    if latents.dim() != 4 or latents.shape[1] != channels:
        raise InvalidRequestError(
            f"latents: expected [B, {channels}, h, w], got {list(latents.shape)}."
        )


def hidden_shape(sample: Tensor, info: ModelInfo) -> tuple[int, ...]:
    """Return the shape of the mid block's output for a sample: ``[R, C', h', w']``."""
    site = _find("mid_block", info, ("activation",))
    return (
        sample.shape[0],
        site.channels,
        *_size_at(site.level, (sample.shape[2], sample.shape[3])),
    )


def token_count(site: Site, latent_size: tuple[int, int]) -> int:
    """Return how many queries a site has for latents of a size (h, w)."""
    height, width = _size_at(site.level, latent_size)
    return height * width


def large_map(site: Site, latent_size: tuple[int, int]) -> bool:
    """Tell whether the site's map is too large to be read: a self map above 32x32."""
    return site.kind == "self" and token_count(site, latent_size) > SELF_MAP_LIMIT


def refuse_large(sites: tuple[Site, ...], latent_size: tuple[int, int]) -> None:
    """Raise NotOfferedError if a self map among `sites` is larger than 32x32."""
    large = [site for site in sites if large_map(site, latent_size)]
    if large:
        height, width = _size_at(large[0].level, latent_size)
        raise NotOfferedError(
            f"The self-attention map of {large[0].name} has {height}x{width} tokens; self maps "
            "are read at 32x32 or below. Choose deeper sites: SiteSelector('self', levels=...)."
        )


def _check_edits(edits: EditInputs, info: ModelInfo, rows: int, size: tuple[int, int]) -> None:
    length, gates = info.context_length, (len(info.sites.of_kind("self")), rows)
    _shape("edits.source_row", edits.source_row, (rows,), torch.int64)
    _shape("edits.cross_map", edits.cross_map, (rows, length, length))
    _shape("edits.cross_scale", edits.cross_scale, (rows, length))
    _shape("edits.self_q", edits.self_q, gates, torch.bool)
    _shape("edits.self_k", edits.self_k, gates, torch.bool)
    _shape("edits.self_v", edits.self_v, gates, torch.bool)
    for name, bias in edits.cross_bias.items():
        site = _find(name, info, ("cross",))
        _shape(f"edits.cross_bias[{name!r}]", bias, (rows, token_count(site, size), length))


def _check_readings(call: UNetCall, info: ModelInfo, size: tuple[int, int]) -> None:
    refuse_large(tuple(_find(name, info, ("self", "cross")) for name in call.maps), size)
    for name, heads in call.maps.items():
        if heads not in get_args(Heads):
            raise InvalidRequestError(
                f"maps[{name!r}]={heads!r}. {choices(heads, get_args(Heads))}"
            )
    for name in call.features:
        _find(name, info, ("activation",))


def _find(name: str, info: ModelInfo, kinds: tuple[Kind, ...]) -> Site:
    found = next((s for s in info.sites.all if s.name == name and s.kind in kinds), None)
    if found is None:
        valid = [site.name for site in info.sites.all if site.kind in kinds]
        raise UnknownSiteError(f"{name!r} is no {' or '.join(kinds)} site. {choices(name, valid)}")
    return found


def _size_at(level: int, size: tuple[int, int]) -> tuple[int, int]:
    # Each level's convolution of stride 2 rounds up.
    return -(-size[0] // 2**level), -(-size[1] // 2**level)


def _shape(
    field: str, value: Tensor, expected: tuple[int, ...], dtype: torch.dtype | None = None
) -> None:
    if tuple(value.shape) != expected or (dtype is not None and value.dtype != dtype):
        _refuse(field, value, f"{dtype or ''} {list(expected)}".strip())


def _refuse(field: str, value: Tensor, expected: str) -> None:
    raise InvalidRequestError(
        f"{field}: expected {expected}, got {value.dtype} {list(value.shape)}."
    )
