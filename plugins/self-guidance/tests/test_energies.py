"""Properties, placements and energies, against their formulas and finite differences."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from underpaint.guidance import Observation
from underpaint.layout import Layout
from underpaint.maps import AttentionMaps
from underpaint.sites import Site, SiteSelector
from underpaint_self_guidance.energies import (
    Readings,
    Target,
    Weights,
    distance,
    target_energy,
    word_map,
)
from underpaint_self_guidance.placement import Placement
from underpaint_self_guidance.properties import appearance, centroid, shape, size

SITES = (Site("fine", "cross", "up", 1, 1, 8), Site("coarse", "cross", "up", 2, 1, 8))
READINGS = Readings(SiteSelector("cross"), "block")
LAYOUT = Layout.of(2, ("main", "original"), ())


def blob(x, y, side=16, radius=0.15):
    cells = (torch.arange(side) + 0.5) / side
    far = (cells[None] - x) ** 2 + (cells[:, None] - y) ** 2
    return torch.exp(-far / (2 * radius**2))


def observation(seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        return torch.rand(*size, generator=generator, dtype=dtype)

    maps = {site: draw(4, 1, (16 >> site.level) ** 2, 5) for site in SITES}
    features = {"block": draw(4, 3, 16, 16)}
    latents = draw(4, 4, 16, 16)
    values = AttentionMaps(LAYOUT, (16, 16), maps)
    return Observation(latents, latents, latents, values, features)


def target(weights, placement=None):
    own = torch.tensor([[0, 1.0, 0, 0, 0], [0, 0, 0.5, 0.5, 0]])
    theirs = torch.tensor([[0, 0, 1.0, 0, 0], [0, 0, 0.5, 0.5, 0]])
    return Target(own, "original", theirs, weights, placement or Placement())


def test_the_centroid_is_where_a_blob_is():
    maps = torch.stack([blob(0.3, 0.6), blob(0.7, 0.4)])
    assert torch.allclose(centroid(maps), torch.tensor([[0.3, 0.6], [0.7, 0.4]]), atol=0.03)


def test_a_shape_is_normalised_over_space_for_each_map_by_itself():
    maps = torch.stack([blob(0.3, 0.6), 0.001 * blob(0.7, 0.4), 100 * blob(0.5, 0.5)])
    found = shape(maps)
    assert torch.allclose(found.amin((1, 2)), torch.zeros(3), atol=1e-6)
    assert (found.amax((1, 2)) > 0.9).all()
    literal = torch.sigmoid(
        10 * ((maps[2] - maps[2].min()) / (maps[2].max() - maps[2].min()) - 0.3)
    )
    literal = (literal - literal.min()) / (literal.max() - literal.min())
    assert torch.allclose(found[2], literal, atol=1e-3)
    assert torch.allclose(size(maps), found.mean((1, 2)))


def test_a_larger_blob_has_a_larger_size():
    assert size(blob(0.5, 0.5, radius=0.2)) > 2 * size(blob(0.5, 0.5, radius=0.1))


def test_an_appearance_is_the_mean_under_the_mask_and_the_mask_has_no_gradient():
    features = torch.rand(1, 3, 4, 4, requires_grad=True)
    mask = torch.zeros(1, 1, 4, 4, requires_grad=True)
    with torch.no_grad():
        mask[..., :2] = 1
    found = appearance(features, mask)
    assert torch.allclose(found[0, 0], features[0, :, :, :2].mean((1, 2)), atol=1e-4)
    found.sum().backward()
    assert mask.grad is None
    assert features.grad is not None


@pytest.mark.parametrize(
    ("placement", "wanted"),
    [
        (Placement(shift=(0.25, 0.0)), blob(0.65, 0.5, side=32)),
        (Placement(to=(0.3, 0.7)), blob(0.3, 0.7, side=32)),
        (Placement(factor=1.5), blob(0.4, 0.5, side=32, radius=0.15)),
    ],
)
def test_a_placement_moves_maps(placement, wanted):
    source = blob(0.4, 0.5, side=32, radius=0.1 if placement.factor > 1 else 0.15)[None]
    moved = placement.apply(source[:, None], torch.tensor([[0.4, 0.5]]))[0, 0]
    assert (moved - wanted).abs().max() < 0.05


def test_an_outline_is_scaled_about_the_object_and_not_about_its_maps_mean():
    """Attention all over the picture draws a map's mean to the middle."""
    maps = (blob(0.25, 0.5, side=32, radius=0.08) + 0.1)[None]
    assert centroid(maps)[0, 0] > 0.35
    grown = Placement(factor=1.5).outline(maps)
    assert torch.allclose(centroid(grown), torch.tensor([[0.25, 0.5]]), atol=0.02)
    assert grown.mean() > 1.8 * shape(maps).mean()


def test_a_maps_extremes_get_no_gradient():
    maps = blob(0.3, 0.6)[None].requires_grad_()
    size(maps).sum().backward()
    cells = maps.grad.flatten()
    assert cells.abs().max() > 1e-4
    assert cells[maps.detach().flatten().argmax()].abs() < 0.1 * cells.abs().max()
    assert cells.min() >= 0  # each cell by itself adds to the size


def test_a_turn_goes_clockwise():
    beside = blob(0.75, 0.5, radius=0.06)[None]  # to the right of the centre it turns about
    moved = Placement(degrees=90).apply(beside[:, None], torch.tensor([[0.5, 0.5]]))[:, 0]
    assert torch.allclose(centroid(moved), torch.tensor([[0.5, 0.75]]), atol=0.03)


def away_from_extremes(seen, wanted, cells):
    """Return ``[I, 1, cells, 1]``: 0 where a cell has part in the extremes of an object's map."""
    own = word_map(seen.maps, "main", wanted.tokens, READINGS).detach()
    ends = torch.zeros_like(own).flatten(1)
    for extreme in (own.flatten(1).argmin(1), own.flatten(1).argmax(1)):
        ends.scatter_(1, extreme[:, None], 1)
    near = F.max_pool2d(ends.reshape(own.shape)[:, None], 5, stride=1, padding=2)
    side = round(cells**0.5)
    return 1 - F.adaptive_max_pool2d(near, side).reshape(len(own), 1, cells, 1)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["centroid", "size", "shape", "appearance"])
def test_gradients_equal_finite_differences(name, seed):
    """Of every energy, in double precision, with respect to maps and activations.

    A map's extremes count as constants, so that they are left where they are.
    """
    seen = observation(seed)
    placement = Placement(shift=(0.2, -0.1), factor=1.3, degrees=20)
    wanted = target(Weights(**{name: 1.0}), placement)
    leaves = [*seen.features.values()] if name == "appearance" else [*seen.maps.values.values()]
    for leaf in leaves:
        leaf.requires_grad_()
    target_energy(seen, wanted, READINGS).sum().backward()
    generator = torch.Generator().manual_seed(seed)
    main = LAYOUT.rows_of("main", "cond")
    for leaf in leaves:
        towards = torch.zeros_like(leaf)
        towards[main] = torch.rand(leaf[main].shape, generator=generator, dtype=leaf.dtype)
        if name != "appearance":
            towards[main] *= away_from_extremes(seen, wanted, leaf.shape[2])
        values = []
        with torch.no_grad():
            for step in (1e-6, -2e-6):
                leaf.add_(step * towards)
                values.append(float(target_energy(seen, wanted, READINGS).sum()))
            leaf.add_(1e-6 * towards)
        slope = (values[0] - values[1]) / 2e-6
        assert slope == pytest.approx(float((leaf.grad * towards).sum()), rel=1e-3, abs=1e-7)
        assert leaf.grad[main].abs().max() > 1e-6


@pytest.mark.parametrize("name", ["centroid", "size", "shape", "appearance"])
def test_what_is_compared_with_has_no_gradient_and_an_equal_object_no_energy(name):
    seen = observation(3)
    for value in (*seen.maps.values.values(), *seen.features.values()):
        value.requires_grad_()
    wanted = target(Weights(**{name: 1.0}))
    target_energy(seen, wanted, READINGS).sum().backward()
    original = LAYOUT.rows_of("original", "cond")
    for value in (*seen.maps.values.values(), *seen.features.values()):
        assert value.grad is None or value.grad[original].abs().max() == 0
    with torch.no_grad():
        for value in (*seen.maps.values.values(), *seen.features.values()):
            value[LAYOUT.rows_of("main", "cond")] = value[original]
    alike = Target(wanted.tokens, "original", wanted.tokens, wanted.weights)
    assert target_energy(seen, alike, READINGS).abs().max() < 1e-12


def test_what_is_equal_but_for_rounding_has_next_to_no_gradient():
    difference = torch.tensor([-1e-8, 0.0, 1e-8, 0.5], requires_grad=True)
    distance(difference).sum().backward()
    assert difference.grad[:3].abs().max() < 1e-4
    assert difference.grad[3] == 1
