import pytest
import torch
from underpaint.errors import InvalidRequestError, UnknownSiteError
from underpaint.layout import Layout
from underpaint.packing import find_conflict, pack_edits, resolve_taps
from underpaint.records import AttentionEdit, Tap, Window
from underpaint.sites import SiteSelector
from underpaint.testing import ToyEngine

SITES = ToyEngine().info.sites
SELF = SITES.of_kind("self")[1].name
CROSS = SITES.of_kind("cross")[0].name
LENGTH = 5
LAYOUT = Layout.of(2, ["main", "source"], ["main", "source"])
MAIN, SOURCE = LAYOUT.rows_of("main", "cond"), LAYOUT.rows_of("source", "cond")


def pack(*edits, layout=LAYOUT):
    return pack_edits(edits, layout, SITES, LENGTH)


def test_no_edits_run_the_plain_graph():
    assert pack() is None


def test_an_edit_without_content_is_the_identity():
    inputs = pack(AttentionEdit("main", "source"))
    assert torch.equal(inputs.source_row, torch.arange(8))
    assert not inputs.cross_map.any()
    assert inputs.cross_scale.eq(1).all()
    assert not torch.stack([inputs.self_q, inputs.self_k, inputs.self_v]).any()


def test_edit_is_written_to_the_rows_of_its_branch_and_half():
    matrix, scale = torch.rand(LENGTH, LENGTH), torch.rand(LENGTH)
    inputs = pack(
        AttentionEdit("main", "source", cross_map=matrix, cross_scale=scale, self_q={SELF})
    )
    assert inputs.source_row[MAIN].tolist() == SOURCE
    assert (inputs.cross_map[MAIN] == matrix).all()
    assert (inputs.cross_scale[MAIN] == scale).all()
    others = [row for row in range(8) if row not in MAIN]
    assert inputs.source_row[others].tolist() == others
    assert not inputs.cross_map[others].any()
    assert inputs.self_q.nonzero().tolist() == [[1, row] for row in MAIN]
    assert not inputs.self_k.any()


def test_each_image_has_its_own_map():
    matrices, scales = torch.rand(2, LENGTH, LENGTH), torch.rand(2, LENGTH)
    inputs = pack(AttentionEdit("main", "source", cross_map=matrices, cross_scale=scales))
    assert torch.equal(inputs.cross_map[MAIN], matrices)
    assert torch.equal(inputs.cross_scale[MAIN], scales)


def test_uncond_half():
    inputs = pack(AttentionEdit("main", "source", "uncond", cross_scale=torch.zeros(LENGTH)))
    assert not inputs.cross_scale[LAYOUT.rows_of("main", "uncond")].any()
    assert inputs.cross_scale[MAIN].all()


def test_bias_is_zero_on_other_rows():
    bias = torch.rand(64, LENGTH)
    inputs = pack(AttentionEdit("main", "main", cross_bias={CROSS: bias}))
    assert (inputs.cross_bias[CROSS][MAIN] == bias).all()
    assert not inputs.cross_bias[CROSS][SOURCE].any()


def test_an_edit_whose_target_is_not_evaluated_is_left_out():
    part = LAYOUT.subset(["source"], ["cond"])
    inputs = pack(AttentionEdit("main", "source", self_k={SELF}), layout=part)
    assert not inputs.self_k.any()


def test_reading_a_row_that_does_not_exist_is_an_error():
    layout = Layout.of(1, ["main", "source"], ["main"])
    with pytest.raises(InvalidRequestError, match=r"uncond half of 'source'.*follows"):
        pack(AttentionEdit("main", "source", "uncond", self_q={SELF}), layout=layout)


def test_unknown_sites_are_errors_that_list_the_sites():
    with pytest.raises(UnknownSiteError, match=r"No self-attention site 'attn'.*down_blocks"):
        pack(AttentionEdit("main", "source", self_q={"attn"}))
    with pytest.raises(UnknownSiteError, match=rf"No cross-attention site '{SELF}'"):
        pack(AttentionEdit("main", "main", cross_bias={SELF: torch.zeros(16, LENGTH)}))


def test_a_scale_beside_a_swap_keeps_the_swap():
    swap = AttentionEdit("main", "source", cross_map=torch.eye(LENGTH))
    weight = AttentionEdit("main", "main", cross_scale=torch.rand(LENGTH))
    for edits in ([swap, weight], [weight, swap]):
        assert find_conflict(edits) is None
        inputs = pack(*edits)
        assert inputs.source_row[MAIN].tolist() == SOURCE
        assert (inputs.cross_map[MAIN] == torch.eye(LENGTH)).all()
        assert (inputs.cross_scale[MAIN] == weight.cross_scale).all()


@pytest.mark.parametrize(
    ("a", "b", "thing"),
    [
        ({"cross_map": torch.eye(LENGTH)}, {"cross_map": torch.eye(LENGTH)}, "the cross_map"),
        ({"cross_scale": torch.ones(5)}, {"cross_scale": torch.ones(5)}, "the cross_scale"),
        ({"self_k": {SELF}}, {"self_k": {SELF}}, f"self_k of {SELF}"),
        ({"cross_bias": {CROSS: 0}}, {"cross_bias": {CROSS: 0}}, f"the cross_bias of {CROSS}"),
        ({"self_q": {SELF}}, {"self_v": {SELF}, "source": "main"}, "the source row"),
    ],
)
def test_two_writers_of_one_thing_conflict(a, b, thing):
    first = AttentionEdit("main", **{"source": "source", **a})
    second = AttentionEdit("main", **{"source": "source", **b})
    i, j, message = find_conflict([first, second])
    assert (i, j) == (0, 1)
    assert thing in message
    assert "branch 'main' (cond half)" in message


def test_different_targets_halves_and_parts_do_not_conflict():
    edit = AttentionEdit("main", "source", cross_map=torch.eye(LENGTH))
    assert find_conflict([edit, AttentionEdit("source", "main", cross_map=edit.cross_map)]) is None
    other = AttentionEdit("main", "source", "uncond", cross_map=edit.cross_map)
    assert find_conflict([edit, other]) is None
    assert find_conflict([edit, AttentionEdit("main", "source", self_q={SELF})]) is None


def test_taps_resolve_to_sites_inside_their_window():
    mean = Tap(SITES.words(), during=Window(0.0, 0.5))
    heads = Tap(SiteSelector("cross", names=frozenset({"up_blocks.0.attn2"})), heads="all")
    activation = Tap(SiteSelector("activation"))
    maps, features = resolve_taps([heads, mean, activation], SITES, 0.2)
    assert maps == {"up_blocks.0.attn2": "all", "down_blocks.1.attn2": "mean"}
    assert features == {"mid_block"}
    maps, _ = resolve_taps([heads, mean, activation], SITES, 0.5)
    assert maps == {"up_blocks.0.attn2": "all"}
