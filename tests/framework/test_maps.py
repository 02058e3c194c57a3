import pytest
import torch
from underpaint.engine import UNetCall
from underpaint.errors import UnknownSiteError
from underpaint.layout import Layout
from underpaint.maps import AttentionMaps
from underpaint.packing import pack_edits
from underpaint.records import AttentionEdit
from underpaint.sites import SiteSelector
from underpaint.testing import ToyEngine, toy_unet

LENGTH = 6
ENGINE = ToyEngine(context_length=LENGTH)
SITES = ENGINE.info.sites
LAYOUT = Layout.of(2, ["main", "source"], ["main"])
MAIN, SOURCE = LAYOUT.rows_of("main", "cond"), LAYOUT.rows_of("source", "cond")


def random_maps(heads=2):
    generator = torch.Generator().manual_seed(3)
    values = {
        site: torch.randn(
            len(LAYOUT.rows), heads, 64 >> 2 * site.level, LENGTH, generator=generator
        ).softmax(-1)
        for site in SITES.of_kind("cross")
    }
    return AttentionMaps(LAYOUT, (8, 8), values)


def edit(**fields):
    generator = torch.Generator().manual_seed(4)
    matrix = torch.rand(LENGTH, LENGTH, generator=generator)
    scale = torch.rand(LENGTH, generator=generator)
    return AttentionEdit("main", "source", **{"cross_map": matrix, "cross_scale": scale, **fields})


def test_edited_maps_are_the_formula():
    maps, one = random_maps(), edit()
    edited = one.apply(maps)
    for site, value in maps.values.items():
        expected = value[SOURCE] @ one.cross_map + value[MAIN] @ torch.diag(one.cross_scale)
        assert torch.allclose(edited.values[site][MAIN], expected)
        assert torch.equal(edited.values[site][SOURCE], value[SOURCE])


def test_head_mean_commutes_with_the_edit():
    maps, one = random_maps(), edit()
    mean = AttentionMaps(LAYOUT, (8, 8), {s: v.mean(1, True) for s, v in maps.values.items()})
    for site, value in one.apply(mean).values.items():
        assert torch.allclose(value, one.apply(maps).values[site].mean(1, True), atol=1e-6)


def test_edits_read_the_maps_as_they_were():
    maps = random_maps()
    there = edit(cross_scale=None)
    back = AttentionEdit("source", "main", cross_map=there.cross_map)
    scale = AttentionEdit("main", "main", cross_scale=torch.full((LENGTH,), 0.5))
    edited = maps.with_edits([there, back, scale])
    for site, value in maps.values.items():
        both = value[SOURCE] @ there.cross_map + value[MAIN] * 0.5
        assert torch.allclose(edited.values[site][MAIN], both)
        assert torch.allclose(
            edited.values[site][SOURCE], value[SOURCE] + value[MAIN] @ there.cross_map
        )


@pytest.mark.parametrize("which", [{}, {"cross_scale": None}, {"cross_map": None}])
def test_edited_maps_are_what_the_engine_attends_with(which):
    one, site = edit(**which), SITES.of_kind("cross")[0]
    call = UNetCall(
        sample=torch.randn(len(LAYOUT.rows), 4, 8, 8, generator=torch.Generator().manual_seed(0)),
        timestep=torch.full((len(LAYOUT.rows),), 400),
        context=ENGINE.encode_text(ENGINE.tokenize(["a cat"] * len(LAYOUT.rows))),
        edits=pack_edits([one], LAYOUT, SITES, LENGTH),
        maps={site.name: "all"},
    )
    hidden = torch.randn(len(LAYOUT.rows), 64, 8, generator=torch.Generator().manual_seed(1))
    one_pass = toy_unet._Pass(ENGINE.unet, call)
    output = one_pass._cross(site.name, hidden)
    own = AttentionMaps(LAYOUT, (8, 8), {site: one_pass.maps[site.name]})
    value = call.context @ ENGINE.unet.projections[site.name][2]
    value = value.unflatten(-1, (2, -1)).transpose(1, 2)  # [R, H, L, c]
    expected = (one.apply(own).values[site] @ value).transpose(1, 2).flatten(2)
    assert torch.allclose(output, expected, atol=1e-6)
    untouched = (own.values[site] @ value).transpose(1, 2).flatten(2)
    assert not torch.allclose(output[MAIN], untouched[MAIN], atol=1e-3)


def test_words_average_sites_and_heads_on_the_grid():
    words = random_maps().select(SITES.words())
    maps = words.words("main")
    assert maps.shape == (2, LENGTH, 4, 4)
    values = torch.stack([v[MAIN].mean(1) for v in words.values.values()]).mean(0)
    assert torch.allclose(maps[1, 2].flatten(), values[1, :, 2])
    assert torch.allclose(maps.sum(1), torch.ones(2, 4, 4), atol=1e-6)


def test_maps_that_were_not_tapped_are_an_error_that_says_what_to_do():
    words = random_maps().select(SITES.words())
    with pytest.raises(UnknownSiteError, match=r"Tapped: down_blocks.1.attn2.*needs\(request\)"):
        words.select(SiteSelector("self"))


def test_grid_of_a_wide_latent():
    site = SITES.of_kind("cross")[1]
    maps = AttentionMaps(LAYOUT, (8, 16), {site: torch.rand(6, 1, 32, LENGTH)})
    assert maps.grid(site) == (4, 8)
    assert maps.words("source").shape == (2, LENGTH, 4, 8)
