"""Permutations of blocks: the rules against literal ones, and what holds for all maps."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from literal_layout import block, exchange_two, swap_by_threshold
from underpaint_initial_image_editing.blocks import close_chains, permute_blocks
from underpaint_initial_image_editing.rules import plan_swap

RULES = ["threshold", "ranking"]


def rectangles(rows, columns):
    edges = st.tuples(
        st.lists(st.integers(0, rows), min_size=2, max_size=2, unique=True).map(sorted),
        st.lists(st.integers(0, columns), min_size=2, max_size=2, unique=True).map(sorted),
    )

    def mark(edge):
        (top, bottom), (left, right) = edge
        marked = torch.zeros(rows, columns, dtype=torch.bool)
        marked[top:bottom, left:right] = True
        return marked

    return edges.map(mark)


@st.composite
def layouts(draw, most=3, least=1):
    """Draw maps ``[K, N]`` without ties, disjoint boxes ``[K, N]`` and lots ``[N]``."""
    rows, columns, count = (
        draw(st.integers(1, 6)),
        draw(st.integers(1, 6)),
        draw(st.integers(least, most)),
    )
    boxes = torch.zeros(count, rows, columns, dtype=torch.bool)
    for k in range(count):
        boxes[k] = draw(rectangles(rows, columns))
    assume(int(boxes.sum(0).max()) <= 1)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    maps = torch.rand(count, rows * columns, generator=generator) + 0.01
    lots = torch.rand(rows * columns, generator=generator)
    return maps, boxes.flatten(1), draw(st.sampled_from([None, lots])), (rows, columns)


@given(layouts(), st.sampled_from(RULES))
def test_a_swap_is_a_permutation_that_moves_what_it_must(layout, rule):
    maps, boxes, lots, _ = layout
    sources = plan_swap(maps, boxes, rule, lots)
    assert sorted(sources.tolist()) == list(range(boxes.shape[1]))
    arrived = [set(sources[box].tolist()) for box in boxes]
    places = [set(box.nonzero().flatten().tolist()) for box in boxes]
    for chosen, box in zip(arrived, places, strict=True):
        assert all(sources[n] == n for n in chosen & box)  # what lies right stays
    moved = {n for n, source in enumerate(sources.tolist()) if n != source}
    assert moved <= set().union(*arrived, *places)


@given(layouts(most=1))
def test_the_box_gets_the_greatest_values(layout):
    maps, boxes, lots, _ = layout
    sources = plan_swap(maps, boxes, "threshold", lots)
    inside, outside = maps[0][sources][boxes[0]], maps[0][sources][~boxes[0]]
    if len(outside):
        assert inside.min() > outside.max()
    assert torch.equal(sources[sources], torch.arange(len(sources)))  # of pairs, for one object


@given(layouts(most=1))
def test_one_object_equals_the_literal_swap(layout):
    maps, boxes, _, grid = layout
    z = torch.randn(4, 2 * grid[0], 2 * grid[1], generator=torch.Generator().manual_seed(1))
    sources = plan_swap(maps, boxes, "threshold", None)
    expected = swap_by_threshold(
        z, maps[0].reshape(grid), boxes[0].nonzero().flatten().tolist(), side=2
    )
    assert torch.equal(permute_blocks(z[None], sources[None], 2)[0], expected)


@given(layouts(most=2, least=2))
def test_two_objects_take_what_the_published_ranking_picks(layout):
    maps, boxes, lots, _ = layout
    sources = plan_swap(maps, boxes, "ranking", lots)
    cells = [box.nonzero().flatten().tolist() for box in boxes]
    picked = exchange_two(maps.tolist(), cells)
    assert [set(sources[box].tolist()) for box in boxes] == picked


@given(layouts(), st.sampled_from(RULES))
def test_a_layout_that_is_there_already_stays(layout, rule):
    maps, boxes, lots, _ = layout
    wanted = maps + 10 * boxes  # each object's box attends most to it
    sources = plan_swap(wanted, boxes, rule, lots)
    assert torch.equal(sources, torch.arange(boxes.shape[1]))


def test_what_one_object_has_taken_the_next_does_not_take():
    maps = torch.tensor([[9.0, 8.0, 1.0, 1.0], [9.0, 8.0, 2.0, 1.0]])
    boxes = torch.tensor([[False, False, True, False], [False, False, False, True]])
    assert plan_swap(maps, boxes, "threshold", None).tolist() == [2, 3, 0, 1]
    assert plan_swap(maps.flip(0), boxes, "threshold", None).tolist() == [2, 3, 0, 1]
    assert plan_swap(maps, boxes.flip(0), "threshold", None).tolist() == [3, 2, 1, 0]


def test_the_ranking_prefers_what_is_an_objects_own():
    # Both words attend most to place 0, the second far more than its mean.
    maps = torch.tensor([[5.0, 4.0, 3.0, 3.0], [9.0, 1.0, 1.0, 1.0]])
    boxes = torch.tensor([[False, False, True, False], [False, False, False, True]])
    assert plan_swap(maps, boxes, "threshold", None)[2] == 0
    assert plan_swap(maps, boxes, "ranking", None)[2] == 1
    assert plan_swap(maps, boxes, "ranking", None)[3] == 0


def test_lots_pair_blocks_and_places_at_random():
    maps = torch.arange(16, 0, -1.0)[None]
    boxes = torch.arange(16)[None] >= 8
    in_order = plan_swap(maps, boxes, "threshold", None)
    assert in_order[8:].tolist() == list(range(8))
    lots = [torch.rand(16, generator=torch.Generator().manual_seed(k)) for k in (0, 1)]
    drawn = [plan_swap(maps, boxes, "threshold", lot)[8:].tolist() for lot in lots]
    assert drawn[0] != drawn[1]
    assert sorted(drawn[0]) == sorted(drawn[1]) == list(range(8))


def test_a_chain_of_moves_is_closed():
    # 0 goes to 1, 1 to 2; the block of 2 goes to the place that 0 left.
    assert close_chains({0: 1, 1: 2}, 4).tolist() == [2, 0, 1, 3]
    assert close_chains({}, 3).tolist() == [0, 1, 2]
    assert close_chains({0: 1, 1: 0}, 3).tolist() == [1, 0, 2]


@pytest.mark.parametrize("side", [1, 2, 4])
@pytest.mark.parametrize("size", [(8, 8), (4, 12)])
def test_blocks_are_moved_whole(side, size):
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 3, *size, generator=generator)
    rows, columns = size[0] // side, size[1] // side
    sources = torch.stack([torch.randperm(rows * columns, generator=generator) for _ in range(2)])
    moved = permute_blocks(latents, sources, side)
    for image in range(2):
        for n, source in enumerate(sources[image].tolist()):
            expected = block(latents[image], source, columns, side)
            assert torch.equal(block(moved[image], n, columns, side), expected)
        assert torch.equal(moved[image].flatten().sort()[0], latents[image].flatten().sort()[0])
