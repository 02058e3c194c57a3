"""Which rows a gradient reaches, and the power of two that keeps it from underflow."""

from __future__ import annotations

import pytest
import torch
from underpaint_engines.rows import chosen, closed, loss_scale, with_values


def test_rows_and_readings_without_a_cotangent_are_left_out():
    noise, maps = torch.zeros(4, 2, 2), torch.zeros(4, 3)
    maps[2, 1] = torch.nan  # no number is not zero
    live, rows = with_values({"noise": noise, "maps": maps})
    assert (list(live), rows.tolist()) == (["maps"], [2])


def test_rows_that_edits_read_come_along():
    sources = torch.tensor([0, 0, 1, 3])
    assert closed(torch.tensor([2]), sources).tolist() == [0, 1, 2]
    assert closed(torch.tensor([3]), sources).tolist() == [3]


def test_chosen_rows_count_among_themselves():
    inputs = {
        "source_row": torch.tensor([0, 1, 2, 2]),
        "self_q": torch.arange(8).view(2, 4),
        "sample": torch.arange(4),
    }
    some = chosen(inputs, torch.tensor([2, 3]))
    assert some["source_row"].tolist() == [0, 0]
    assert some["self_q"].tolist() == [[2, 3], [6, 7]]
    assert some["sample"].tolist() == [2, 3]


@pytest.mark.parametrize("size", [3e-9, 1.0, 700.0])
def test_the_scale_is_a_power_of_two_that_is_the_same_for_all_rows(size):
    scale = loss_scale([torch.tensor([[size], [0.0]]), torch.zeros(2, 3)])
    assert scale[0] == scale[1]
    assert scale.log2().frac().abs().max() == 0
    assert 1 <= float(scale[0]) * size < 2.001
