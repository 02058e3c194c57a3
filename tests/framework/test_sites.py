import pytest
from underpaint.errors import UnknownSiteError
from underpaint.sites import SiteSelector
from underpaint.testing import ToyEngine

SITES = ToyEngine().info.sites


def names(**selector):
    return [site.name for site in SITES.select(SiteSelector(**selector))]


def test_selection_by_kind_level_place_and_name_keeps_call_order():
    assert names(kind="cross", levels=frozenset({1})) == [
        "down_blocks.1.attn2",
        "up_blocks.0.attn2",
    ]
    assert names(kind="self", places=frozenset({"up"})) == [
        "up_blocks.0.attn1",
        "up_blocks.1.attn1",
    ]
    assert names(kind="activation") == ["mid_block"]
    assert names(kind="cross", names=frozenset({"up_blocks.1.attn2"})) == ["up_blocks.1.attn2"]


def test_a_selector_that_matches_nothing_lists_what_there_is():
    with pytest.raises(UnknownSiteError, match=r"down_blocks.0.attn2 \(level 0, down\)"):
        SITES.select(SiteSelector("cross", levels=frozenset({3})))


def test_words_are_read_at_the_word_level():
    chosen = SITES.select(SITES.words())
    assert {site.level for site in chosen} == {SITES.word_level}
    assert {site.place for site in chosen} == {"down", "up"}
    assert SITES.deepest_level == 1
