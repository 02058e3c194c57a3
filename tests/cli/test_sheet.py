from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from underpaint.sheet import (
    ACCENT,
    COLUMN,
    DIMMED,
    GAP,
    MARGIN,
    MARKED,
    PAPER,
    Panel,
    font,
    grid_sheet,
    heat_map,
    mark_region,
    panel_sheet,
    shorten,
    wrap,
)

GREY = Image.new("RGB", (64, 64), "#808080")
SHORT = [("a", False), ("cat", True)]
LONG = [(word, False) for word in ("a very long prompt about a cat " * 6).split()]


def brightness(image):
    return np.asarray(image.convert("L"), dtype=float)


@pytest.mark.parametrize("place", [(0, 0), (3, 6), (7, 7), (5, 1)])
@pytest.mark.parametrize("background", ["black", "white", "#3366cc"])
def test_greatest_value_is_brightest(place, background):
    values = np.random.default_rng(0).uniform(0, 0.5, (8, 8))
    values[place] = 1.0
    heat = heat_map(Image.new("RGB", (64, 64), background), values)
    blocks = brightness(heat).reshape(8, 8, 8, 8).mean((1, 3))
    assert np.unravel_index(blocks.argmax(), blocks.shape) == place
    assert blocks[place] > 1.5 * np.median(blocks)


def test_heat_follows_the_scale_of_the_map_alone():
    values = np.random.default_rng(0).uniform(size=(4, 4))
    assert heat_map(GREY, values).tobytes() == heat_map(GREY, values * 4 + 2).tobytes()
    assert heat_map(GREY, values).tobytes() != heat_map(GREY, 1 - values).tobytes()


def test_constant_map_leaves_the_dimmed_picture():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8))
    heat = np.asarray(heat_map(picture, np.ones((4, 4))))
    dimmed = np.round(np.asarray(picture.convert("L"), dtype=np.float32) * DIMMED)
    assert (heat == dimmed[..., None]).all()


def test_map_of_another_shape_fits_the_picture():
    assert heat_map(Image.new("RGB", (96, 64)), np.eye(4, 6)).size == (96, 64)


@pytest.mark.parametrize("picture", [GREY, Image.new("L", (64, 48), 200)])
def test_a_region_is_coloured_and_the_rest_stays(picture):
    marked = np.asarray(mark_region(picture, np.eye(2)), dtype=float)
    given = np.asarray(picture.convert("RGB"), dtype=float)
    accent = np.array([int(ACCENT[k : k + 2], 16) for k in (1, 3, 5)])
    expected = MARKED * accent + (1 - MARKED) * given[0, 0]
    assert np.abs(marked[0, 0] - expected).max() <= 1
    assert np.abs(marked[-1, -1] - expected).max() <= 1
    assert (marked[0, -1] == given[0, -1]).all()
    assert (marked[-1, 0] == given[-1, 0]).all()
    softer = np.asarray(mark_region(picture, np.eye(2) / 2), dtype=float)
    assert (np.abs(softer - given)[0, 0] < np.abs(marked - given)[0, 0]).all()


def test_sheet_is_as_wide_as_its_columns_and_grows_with_its_rows():
    panel = Panel("Edit", SHORT, GREY, [("attention: cat", GREY)])
    one, two = panel_sheet([[panel] * 3]), panel_sheet([[panel] * 3] * 2)
    assert one.width == two.width == 2 * MARGIN + 3 * COLUMN + 2 * GAP
    assert two.height - one.height == one.height - 2 * MARGIN
    assert panel_sheet([[panel] * 3], "small print").height > one.height


def test_pictures_of_a_row_begin_at_one_height():
    red, blue = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")
    sheet = np.asarray(panel_sheet([[Panel("A", SHORT, red), Panel("B", LONG, blue)]]))
    tops = [(sheet == colour).all(-1).any(1).argmax() for colour in ([255, 0, 0], [0, 0, 255])]
    assert tops[0] == tops[1] > 100


@pytest.mark.parametrize("width", [120, 190, 400])
def test_wrapped_lines_fit(width):
    lines = wrap([*LONG, ("unbelievably" * 9, True)], width, 20)
    assert len(lines) > 2
    for line in lines:
        text = " ".join(word for word, _ in line)
        assert font(20, text).getlength(text) <= width
    assert [word for line in lines for word in line][:-1] == LONG


def test_titles_do_not_overlap():
    title = "attention: " + "unbelievably" * 4
    cells = [(title, GREY)] * 3
    sheet = np.asarray(grid_sheet(GREY, SHORT, cells, 3).convert("RGB"))
    paper = np.array([int(PAPER[k : k + 2], 16) for k in (1, 3, 5)])
    left = MARGIN + COLUMN + GAP
    gaps = [left + 210 * k + 190 for k in range(2)]
    for gap in gaps:
        assert (sheet[:, gap + 1 : gap + 19] == paper).all()


def test_shorten_keeps_what_fits():
    assert shorten("cat", 190, 15) == "cat"
    cut = shorten("unbelievably" * 4, 190, 15)
    assert cut.endswith("…")
    assert font(15, cut).getlength(cut) <= 190


def test_other_alphabets_are_drawn():
    drawn = [bytes(font(20, text).getmask(text)) for text in ("кот", "пёс")]
    assert drawn[0] != drawn[1]
    assert font(20, "кот").getname()[0] == "DejaVu Sans"


def test_grid_breaks_into_lines():
    cells = [("cat", GREY)] * 5
    few, many = (grid_sheet(GREY, SHORT, cells * n, 5) for n in (1, 4))
    assert few.width == many.width
    assert many.height > few.height
