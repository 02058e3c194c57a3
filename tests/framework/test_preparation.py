"""The user's picture in the model's frame: sizes, modes, orientation, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image
from underpaint.errors import InvalidRequestError, NonFiniteError
from underpaint.preparation import Placement, prepare_images, prepare_mask

SIZE = (32, 32)


def halves(width=64, height=32, left="red", right="blue"):
    image = Image.new("RGB", (width, height), right)
    image.paste(left, (0, 0, width // 2, height))
    return image


def prepared(picture, size=SIZE, fit="crop"):
    return prepare_images([picture], size, fit)


def test_a_picture_of_the_models_size_is_left_as_it_is():
    values = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    pixels = prepared(Image.fromarray(values)).pixels[0]
    assert np.array_equal((pixels * 255).round().permute(1, 2, 0).numpy(), values)


@pytest.mark.parametrize("kind", ["file", "array", "floats", "tensor", "string"])
def test_every_form_of_a_picture_gives_the_same_pixels(kind, tmp_path):
    image = halves(32, 32)
    array = np.asarray(image)
    image.save(tmp_path / "picture.png")
    given = {
        "file": tmp_path / "picture.png",
        "string": str(tmp_path / "picture.png"),
        "array": array,
        "floats": array.astype(np.float32) / 255,
        "tensor": torch.from_numpy(array.copy()).permute(2, 0, 1) / 255,
    }
    assert torch.equal(prepared(given[kind]).pixels, prepared(image).pixels)


def test_crop_takes_the_middle_and_letterbox_keeps_all():
    wide = halves(96, 32)
    cropped = prepared(wide)
    assert cropped.placements[0].box == (32, 0, 64, 32)
    assert cropped.pixels[0, 0, 16, 8] == 1  # red left of the middle
    assert cropped.pixels[0, 2, 16, 24] == 1  # blue right of it
    boxed = prepared(wide, fit="letterbox")
    left, top, right, bottom = boxed.placements[0].box
    assert (left, right) == (0, 32)
    assert bottom - top == 11
    padding = boxed.pixels[0, :, 0, 0]  # the mean of half red, half blue
    assert torch.allclose(padding, torch.tensor([0.5, 0.0, 0.5]), atol=0.01)


def test_the_camera_s_orientation_is_obeyed_and_told(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    halves(64, 32).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    turned = prepared(tmp_path / "turned.jpg")
    placement = turned.placements[0]
    assert placement.original == (32, 64)
    assert "turned upright" in placement.notes
    assert turned.pixels[0, 0, 4, 16] > 0.9  # red is now above
    assert turned.pixels[0, 2, 28, 16] > 0.9


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_any_mode_is_read(mode):
    image = Image.new("L", (32, 32), 128)
    image = Image.new("I;16", (32, 32), 128 * 257) if mode == "I;16" else image.convert(mode)
    pixels = prepared(image).pixels
    if mode != "1":  # black and white can only be near on average
        assert torch.allclose(pixels, torch.full_like(pixels, 128 / 255), atol=0.02)
    assert pixels.shape == (1, 3, 32, 32)


def test_what_is_see_through_is_laid_on_white_and_kept_as_opacity():
    image = halves(32, 32).convert("RGBA")
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 16, 32))
    image.putalpha(alpha)
    made = prepared(image)
    assert (made.pixels[0, :, 16, 4] == 1).all()
    assert made.opacity[0, 0, 16, 4] == 0
    assert made.opacity[0, 0, 16, 28] == 1
    assert made.placements[0].notes == ("what is see-through laid on white",)


def test_a_small_picture_is_enlarged_and_that_is_told():
    assert "enlarged 2.0" not in str(prepared(halves(16, 16)).placements[0].notes)
    assert "enlarged 4.0 times" in str(prepared(halves(16, 16), (64, 64)).placements[0].notes)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_one_pixel_and_a_hundred_megapixels_are_refused_before_they_are_decoded(tmp_path):
    with pytest.raises(InvalidRequestError, match="1x1 pixels: give at least 16"):
        prepared(Image.new("RGB", (1, 1)))
    Image.new("1", (10_000, 10_000)).save(tmp_path / "large.png")
    with pytest.raises(InvalidRequestError, match=r"10000x10000 pixels.*at most 50 million"):
        prepared(tmp_path / "large.png")


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(whole)
    (tmp_path / "half.png").write_bytes(whole.read_bytes()[:2000])
    for name in ("text.png", "half.png"):
        with pytest.raises(InvalidRequestError, match=rf"{name} is no picture.*Give a PNG"):
            prepared(tmp_path / name)
    with pytest.raises(InvalidRequestError, match="there is no file"):
        prepared(tmp_path / "absent.png")
    with pytest.raises(InvalidRequestError, match="image is int: give a file"):
        prepared(7)


def test_arrays_of_another_shape_or_range_are_refused():
    with pytest.raises(InvalidRequestError, match=r"give an array \[H, W\]"):
        prepared(np.zeros((32, 32, 5), np.uint8))
    with pytest.raises(InvalidRequestError, match="from 0 to 255: give floats in"):
        prepared(np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3))
    with pytest.raises(NonFiniteError, match="image holds 1 NaN"):
        prepared(np.where(np.arange(1024).reshape(32, 32) == 5, np.nan, 0.5))


def test_a_mask_is_placed_as_its_picture_is():
    placement = Placement.of((96, 32), SIZE, "crop")
    mask = Image.new("L", (96, 32))
    mask.paste(255, (0, 0, 48, 32))
    placed = prepare_mask(mask, placement)
    assert placed.shape == (1, 32, 32)
    assert (placed[0, :, :16] == 1).all()
    assert (placed[0, :, 16:] == 0).all()
    in_the_frame = Image.new("L", SIZE, 255)
    assert (prepare_mask(in_the_frame, placement) == 1).all()


def test_what_a_letterbox_adds_is_outside_the_mask():
    placement = Placement.of((96, 32), SIZE, "letterbox")
    placed = prepare_mask(Image.new("L", (96, 32), 255), placement)
    assert placed[0, 16].eq(1).all()
    assert placed[0, 0].eq(0).all()


def test_a_mask_of_another_size_names_both_valid_ones():
    placement = Placement.of((96, 48), SIZE, "crop")
    with pytest.raises(InvalidRequestError, match=r"64x64 pixels.*96x48.*32x32"):
        prepare_mask(Image.new("L", (64, 64)), placement)
