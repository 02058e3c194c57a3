"""Edits of a picture from disk on the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from underpaint import Pipeline
from underpaint.commands import editing

FILES = ["edit.png", "picture.png", "result.json", "sheet.png", "source.png"]


@pytest.fixture
def photo(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(values).resize((80, 60)).save(tmp_path / "photo.png")
    return "photo.png"


def test_an_edit_of_a_picture_says_how_it_was_fitted(swap, photo, names, record):
    code, _, err = swap("--image", photo, "-o", "out")
    assert code == 0, err
    assert [name for name in names() if name.startswith("out/")] == [f"out/{n}" for n in FILES]
    data = record()
    [placed] = data["pictures"]
    assert (placed["original"], placed["fit"]) == ([80, 60], "crop")
    assert placed["box"] == [10, 0, 70, 60]
    assert data["recipe"]["image"]["fit"] == "crop"


def test_the_sheet_begins_with_the_picture(swap, photo, tmp_path):
    swap("-o", "generated")
    swap("--image", photo, "-o", "real")
    widths = [Image.open(tmp_path / name / "sheet.png").width for name in ("generated", "real")]
    assert widths[1] > widths[0]


@pytest.fixture
def calls(monkeypatch):
    """Keep the edits of every call of the pipeline."""
    kept, call = [], Pipeline.__call__

    def spy(self, *args, edits=(), **more):
        kept.append([edit.method for edit in edits])
        return call(self, *args, edits=edits, **more)

    monkeypatch.setattr(Pipeline, "__call__", spy)
    return kept


@pytest.fixture
def panels(monkeypatch):
    """Keep the panels of every sheet."""
    kept, draw = [], editing.panel_sheet

    def spy(rows, footer=""):
        kept.extend(panel for row in rows for panel in row)
        return draw(rows, footer)

    monkeypatch.setattr(editing, "panel_sheet", spy)
    return kept


@pytest.mark.parametrize("report", [True, False])
def test_what_is_painted_into_a_picture_is_compared_with_the_picture(
    cli, model, photo, calls, panels, report, tmp_path
):
    flags = ("--prompt", "a cat", "--model", model, "--steps", "2", "--seed", "7", "-o", "out")
    own = () if report else ("--no-report",)
    code, _, err = cli("edit", "fake-paint", "--image", photo, *flags, *own)
    assert code == 0, err
    assert calls == [["fake-paint"]]
    where = ["Painted into"] if report else []
    assert [panel.title for panel in panels] == ["Picture", *where, "Edit"]
    given, made = (
        np.asarray(Image.open(tmp_path / "out" / f"{n}.png")) for n in ("picture", "edit")
    )
    assert np.array_equal(panels[0].image, given)
    assert np.array_equal(panels[-1].image, made)
    if report:
        marked, half = np.asarray(panels[1].image), len(given) // 2
        assert np.array_equal(marked[half:], given[half:])
        assert (marked[:half] != given[:half]).any(-1).all()


def test_what_starts_from_the_pictures_noise_is_compared_with_that_noise(
    swap, photo, calls, panels
):
    assert swap("--image", photo, "-o", "out")[0] == 0
    assert calls == [["fake-swap"], []]
    titles = ["Picture", "Source", "Edit", "Same noise, without the method"]
    assert [panel.title for panel in panels] == titles


def test_replay_takes_the_picture_beside_the_recipe_or_asks_for_it(swap, cli, photo, tmp_path):
    swap("--image", photo, "-o", "out", "--fit", "letterbox", "--no-follow")
    assert cli("replay", "out/result.json", "-o", "again")[0] == 0
    for name in ("edit.png", "source.png"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()
    (tmp_path / "out/picture.png").unlink()
    code, _, err = cli("replay", "out/result.json", "-o", "third")
    assert code == 2
    assert "edits a picture" in err
    assert cli("replay", "out/result.json", "--image", photo, "-o", "third")[0] == 0
    assert (tmp_path / "third/edit.png").read_bytes() == (tmp_path / "out/edit.png").read_bytes()


def test_an_inversion_is_written_once_and_used(swap, cli, model, photo, names):
    flags = ("--model", model, "--steps", "3", "-o", "path.safetensors")
    code, out, err = cli("invert", photo, "a cat on grass", *flags, "--json")
    assert code == 0, err
    data = json.loads(out)
    assert data["prompts"] == ["a cat on grass"]
    assert len(data["levels"]) == 4
    code, _, err = swap("--trajectory", "path.safetensors", "-o", "out", "--no-sheet")
    assert code == 0, err
    assert "out/source.png" in names()


def test_a_second_method_joins_the_run(swap, photo, record):
    also = ("--also", 'proxedit={"quantile": 0.5}')
    assert swap("--image", photo, "-o", "out", "--no-sheet", *also)[0] == 0
    edits = record()["recipe"]["edits"]
    assert [edit["method"] for edit in edits] == ["fake-swap", "proxedit"]
    assert edits[1]["quantile"] == 0.5


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--image", "absent.png"], "there is no file absent.png"),
        (["--trajectory", "absent.safetensors"], "underpaint invert IMAGE PROMPT"),
        (["--fit", "stretch"], "--fit"),
        (["--also", "proxedi"], "Did you mean 'proxedit'"),
        (["--also", "proxedit=0.7"], "the parameters are no object. Give e.g."),
        (["--also", "proxedit={"], "Give e.g. --also"),
        (["--also", 'proxedit={"quantile": 2}'], "quantile"),
    ],
)
def test_bad_input_leaves_nothing_behind(swap, names, flags, message):
    code, _, err = swap(*flags, "-o", "out")
    assert code == 2
    assert message in err
    assert names() == []
