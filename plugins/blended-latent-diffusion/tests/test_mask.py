"""Masks: each source and convention, what is refused, and what becomes of them on the grid."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from underpaint.errors import InvalidRequestError
from underpaint.preparation import prepare_images
from underpaint_blended_latent_diffusion import BlendedLatentDiffusion
from underpaint_blended_latent_diffusion.grid import Masks
from underpaint_blended_latent_diffusion.mask import read_mask


def photo(size=(32, 32), alpha=None):
    values = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(values)
    if alpha is not None:
        image.putalpha(alpha)
    return image


def square(inside=255, outside=0, size=32):
    """Return a grey picture with a square of 8x8 pixels from (8, 4)."""
    image = Image.new("L", (size, size), outside)
    image.paste(inside, (8, 4, 16, 12))
    return image


SQUARE = torch.from_numpy(np.asarray(square()) > 0)


def read(image=None, fit="crop", **parameters):
    prepared = prepare_images([image or photo()], (32, 32), fit)
    return read_mask(BlendedLatentDiffusion(**parameters), prepared)


def with_alpha(grey, alpha):
    return Image.merge("RGBA", [grey, grey, grey, alpha])


SOURCES = {
    "white by default": {"mask": square()},
    "white": {"mask": square(), "convention": "white"},
    "black": {"mask": square(0, 255), "convention": "black"},
    "transparent": {"mask": with_alpha(square(90), square(0, 255)), "convention": "transparent"},
    "white, though it has another transparency": {
        "mask": with_alpha(square(255), Image.new("L", (32, 32), 255)),
        "convention": "white",
    },
    "both ways the same": {"mask": with_alpha(Image.new("L", (32, 32)), square(0, 255))},
    "box": {"box": (0.25, 0.125, 0.5, 0.375)},
    "the picture's own transparency": {"image": photo(alpha=square(0, 255))},
    "a tensor": {"mask": torch.from_numpy(np.asarray(square()) / np.float32(255))},
    "an array": {"mask": np.asarray(square())},
    "one bit": {"mask": square().convert("1")},
}


@pytest.mark.parametrize("name", SOURCES)
def test_each_source_says_the_same_square(name):
    mask = read(**SOURCES[name])
    assert mask.shape == (1, 1, 32, 32)
    assert torch.equal(mask[0, 0] > 0, SQUARE)
    assert set(mask.unique().tolist()) == {0.0, 1.0}


def test_a_file_is_found_again_from_another_folder(tmp_path, monkeypatch):
    square().save(tmp_path / "mask.png")
    monkeypatch.chdir(tmp_path)
    edit = BlendedLatentDiffusion(mask="mask.png")
    monkeypatch.chdir("/")
    again = BlendedLatentDiffusion(**json.loads(edit.model_dump_json()))
    assert again == edit
    assert torch.equal(read(mask=again.mask)[0, 0] > 0, SQUARE)


def test_a_mask_is_placed_as_its_picture():
    wide = Image.new("L", (64, 32), 0)
    wide.paste(255, (24, 4, 32, 12))
    assert torch.equal(read(photo((64, 32)), mask=wide)[0, 0] > 0, SQUARE)
    boxed = read(photo((64, 32)), box=(24 / 64, 4 / 32, 32 / 64, 12 / 32))
    assert torch.equal(boxed[0, 0] > 0, SQUARE)
    padded = read(photo((64, 32)), "letterbox", mask=Image.new("L", (64, 32)), convention="black")
    rows = padded[0, 0].amax(1)
    assert rows[8:24].min() == 1
    assert rows[:8].max() == rows[24:].max() == 0


def test_each_picture_of_a_call_has_the_mask_in_its_own_frame():
    prepared = prepare_images([photo(), photo((64, 32))], (32, 32))
    mask = read_mask(BlendedLatentDiffusion(box=(0.25, 0.0, 0.5, 1.0)), prepared)
    assert mask.shape == (2, 1, 32, 32)
    assert mask[0, 0, 0].nonzero().flatten().tolist() == list(range(8, 16))
    assert mask[1, 0, 0].nonzero().flatten().tolist() == list(range(16))


STROKES = with_alpha(Image.new("L", (32, 32), 255), square())
ERASED = with_alpha(photo().convert("L"), square(0, 255))
NO = {
    "white strokes on nothing": ({"mask": STROKES}, "'white' edits what is bright.*'transparent'"),
    "a photo, erased": ({"mask": ERASED}, "different places.*'white'.*'transparent'"),
    "another size": ({"mask": square(size=40)}, "mask has 40x40 pixels. Give it the size"),
    "no file": ({"mask": "absent.png"}, "there is no file .*absent.png"),
    "black": ({"mask": square(0)}, "The mask is empty.*'black' what is dark"),
    "faint": ({"mask": square(100)}, "The mask is empty"),
    "opaque": ({"mask": square(), "convention": "transparent"}, "The mask is empty"),
    "nothing": ({}, "nothing says where"),
    "cut away": (
        {"image": photo((64, 32)), "box": (0.0, 0.0, 0.2, 1.0)},
        "fit='letterbox' cuts nothing",
    ),
    "twice": (
        {"image": photo(alpha=square(0, 255)), "mask": square()},
        r"Two things say where to edit: mask=\.\.\., and the picture",
    ),
    "twice, by box": (
        {"image": photo(alpha=square(0, 255)), "box": (0, 0, 0.5, 0.5)},
        r"Two things say where to edit: box=",
    ),
}


@pytest.mark.parametrize("name", NO)
def test_what_is_missing_or_can_be_read_in_two_ways_is_refused(name):
    parameters, message = NO[name]
    with pytest.raises(InvalidRequestError, match=f"(?s){message}"):
        read(**parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mask": "a.png", "box": (0, 0, 1, 0.5)}, "both say where"),
        ({"convention": "white"}, "convention says how mask is read"),
        ({"mask": "a.png", "convention": "grey"}, "'white', 'black' or 'transparent'"),
        ({"box": (0.5, 0, 0.2, 1)}, "left < right"),
        ({"box": (0, 0, 20, 30)}, "as fractions of the picture"),
        ({"box": (0, 0, 1)}, "box"),
        ({"strength": 0}, "strength"),
        ({"strength": 1.1}, "strength"),
        ({"shrink": -1}, "shrink"),
        ({"preserve": "all"}, "'exact'"),
        ({"noise_mode": "none"}, "'fresh', 'fixed' or 'inverted'"),
        ({"reconstruction_steps": 0}, "reconstruction_steps"),
        ({"background_weight": -1}, "background_weight"),
    ],
)
def test_parameters_have_bounds(parameters, message):
    with pytest.raises(ValidationError, match=message):
        BlendedLatentDiffusion(**parameters)


@pytest.mark.parametrize("soft", [False, True])
def test_a_mask_of_everything_is_refused(session, picture, soft):
    edit = BlendedLatentDiffusion(mask=Image.new("L", (32, 32), 255), soft=soft)
    with pytest.raises(InvalidRequestError, match="covers the whole picture"):
        session(edit, image=picture())


def test_a_bad_mask_is_refused_before_anything_runs(session, picture, monkeypatch):
    monkeypatch.setattr(type(session.pipeline.engine), "predict", None)
    with pytest.raises(InvalidRequestError, match="The mask is empty"):
        session(BlendedLatentDiffusion(mask=square(0)), image=picture())


def grid(*boxes, soft=False, value=1.0):
    pixels = torch.zeros(1, 1, 32, 32)
    for left, top, right, bottom in boxes:
        pixels[..., top:bottom, left:right] = value
    return Masks.of(pixels, 4, soft=soft)


def cells(mask):
    return {(row, column) for row, column in mask[0, 0].nonzero().tolist()}


def test_a_cell_is_edited_if_half_of_it_is():
    masks = grid((2, 0, 10, 8))
    assert cells(masks.cells) == {(row, column) for row in (0, 1) for column in (0, 1, 2)}
    masks = grid((3, 0, 9, 8))
    assert cells(masks.cells) == {(0, 1), (1, 1)}
    assert not masks.thin
    assert cells(masks.touched) == {(row, column) for row in (0, 1) for column in (0, 1, 2)}
    assert masks.reach[0, 0].nonzero()[:, 1].unique().tolist() == list(range(12))


def test_a_thin_mask_does_not_vanish_nor_does_a_thin_part():
    line = grid((9, 0, 10, 32))
    assert line.thin
    assert cells(line.cells) == {(row, 2) for row in range(8)}
    both = grid((0, 0, 8, 8), (28, 0, 29, 32))
    assert both.thin
    assert cells(both.cells) == {
        (0, 0), (0, 1), (1, 0), (1, 1), *((row, 7) for row in range(8)),
    }  # fmt: skip


def test_a_thin_mask_is_told(session, picture):
    line = Image.new("L", (32, 32))
    line.paste(255, (9, 0, 10, 32))
    [warning] = session(BlendedLatentDiffusion(mask=line), image=picture()).warnings
    assert "thinner than the latent's cells (4 pixels)" in warning
    assert session(BlendedLatentDiffusion(mask=line, shrink=3), image=picture()).warnings == ()
    assert session(BlendedLatentDiffusion(mask=square()), image=picture()).warnings == ()


def test_a_soft_mask_keeps_its_weights(session, picture):
    masks = grid((0, 0, 8, 8), soft=True, value=0.25)
    assert masks.cells[0, 0, :2, :2].unique().tolist() == [0.25]
    assert not masks.thin
    half = grid((2, 0, 8, 8), soft=True)
    assert half.cells[0, 0, 0, :3].tolist() == [0.5, 1.0, 0.0]
    faint = square(100)
    result = session(BlendedLatentDiffusion(mask=faint, soft=True), image=picture())
    clean = session.pipeline.engine.encode_image(picture()[None])
    hard = session(BlendedLatentDiffusion(box=(0.25, 0.125, 0.5, 0.375)), image=picture())
    changes = [(each.latents - clean)[..., 1:3, 2:4].abs().mean() for each in (result, hard)]
    assert 0.01 < changes[0] < changes[1]
