import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from underpaint.errors import InvalidRequestError
from underpaint.layout import Layout, Row


def layout():
    return Layout.of(2, ["main", "source"], ["main"])


def test_rows_are_half_major_then_image_then_branch():
    assert layout().rows == (
        Row(0, "main", "uncond"),
        Row(1, "main", "uncond"),
        Row(0, "main", "cond"),
        Row(0, "source", "cond"),
        Row(1, "main", "cond"),
        Row(1, "source", "cond"),
    )


def test_rows_gather_their_trajectory():
    assert layout().trajectory_of_row.tolist() == [0, 2, 0, 1, 2, 3]
    assert layout().trajectories == 4
    assert layout().trajectories_of("source") == [1, 3]
    assert layout().rows_of("main", "cond") == [2, 4]
    assert layout().rows_of("source", "uncond") == []


def test_subset_keeps_trajectories_and_drops_rows():
    part = layout().subset(["source"], ["cond"])
    assert part.rows == (Row(0, "source", "cond"), Row(1, "source", "cond"))
    assert part.trajectory_of_row.tolist() == [1, 3]
    assert part.trajectories == 4


def test_unknown_branch_names_the_branches():
    for ask in (
        lambda: layout().rows_of("sorce", "cond"),
        lambda: layout().trajectories_of("sorce"),
        lambda: layout().subset(["sorce"], None),
    ):
        with pytest.raises(InvalidRequestError, match=r"'main', 'source'.*mean 'source'"):
            ask()


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 4))
def test_every_image_branch_and_half_has_exactly_one_row(images, branches, guided):
    names = [f"b{i}" for i in range(branches)]
    rows = Layout.of(images, names, names[:guided]).rows
    assert len(set(rows)) == len(rows) == images * (branches + min(guided, branches))


@given(st.integers(1, 4), st.integers(1, 3))
def test_gathering_rows_and_summing_them_back_counts_rows_per_trajectory(images, branches):
    names = [f"b{i}" for i in range(branches)]
    one = Layout.of(images, names, names[:1])
    count = torch.bincount(one.trajectory_of_row, minlength=one.trajectories)
    expected = ([2] + [1] * (branches - 1)) * images
    assert count.tolist() == expected
