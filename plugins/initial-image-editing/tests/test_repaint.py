"""Re-painting as a user meets it, on the engine without weights."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from underpaint import Method, hookimpl
from underpaint.errors import InvalidRequestError
from underpaint.run import seed_noise
from underpaint.testing import check_plugin, greatest_difference
from underpaint_initial_image_editing import Repaint

# The toy's pictures are 32x32, its latents 8x8, its blocks 2x2 cells or 8x8 pixels.
BOX, CELLS = (0.0, 0.25, 0.5, 1.0), (slice(2, 8), slice(0, 4))
SHAPE = (4, 8, 8)

EDITS = {
    "free": Repaint(mask=BOX),
    "another attempt": Repaint(mask=BOX, attempt=1),
    "exact": Repaint(mask=BOX, keep="exact"),
    "on another seed": Repaint(mask=BOX, base_seed=3),
    "another place": Repaint(mask=(0.5, 0.0, 1.0, 0.5)),
}


@pytest.fixture(params=EDITS)
def method(request):
    return EDITS[request.param]


def inside():
    marked = torch.zeros(8, 8, dtype=torch.bool)
    marked[CELLS] = True
    return marked


def save_mask(folder, array):
    path = folder / "mask.png"
    Image.fromarray(array).save(path)
    return path


def test_every_edit_keeps_the_rules_of_plugins_and_changes_something(method):
    report = check_plugin(method)
    assert report.branches == (("base",) if method.keep == "exact" else ())
    assert report.reproducible
    assert report.change > 1e-3


def test_every_edit_differs_from_every_other(edit_session):
    images = {name: edit_session(edit).images for name, edit in EDITS.items()}
    names = list(images)
    for k, name in enumerate(names):
        for other in names[:k]:
            assert greatest_difference(images[name], images[other]) > 1e-4, (name, other)


def test_x_t_is_fresh_inside_and_bit_equal_outside(edit_session):
    start = edit_session.trace(EDITS["free"]).steps[0].latents[0]
    noise = seed_noise(7, SHAPE)
    assert torch.equal(start[:, ~inside()], noise[:, ~inside()])
    assert not (start[:, inside()] == noise[:, inside()]).any()


def test_tries_share_the_base_seed_outside_and_have_their_own_noise_inside(edit_session):
    edit = Repaint(mask=BOX, base_seed=7, rank=False)
    trace = edit_session.trace(edit, seed=100, num_images_per_prompt=3)
    first, second, third = trace.steps[0].latents
    outside = ~inside()
    base = seed_noise(7, SHAPE)
    for start in (first, second, third):
        assert torch.equal(start[:, outside], base[:, outside])
    assert not (first[:, inside()] == second[:, inside()]).any()
    alone = edit_session.trace(edit, seed=102).steps[0].latents[0]
    assert torch.equal(alone, third)
    assert greatest_difference(trace.result.images[:1], trace.result.images[1:2]) > 1e-3
    assert not trace.result.warnings


def test_given_latents_are_painted_on(edit_session):
    given = torch.randn(1, *SHAPE, generator=torch.Generator().manual_seed(1))
    tries = given.expand(2, -1, -1, -1)
    edit = Repaint(mask=BOX, rank=False)
    trace = edit_session.trace(edit, latents=tries, num_images_per_prompt=2)
    first, second = trace.steps[0].latents
    assert torch.equal(first[:, ~inside()], given[0][:, ~inside()])
    assert torch.equal(second[:, ~inside()], given[0][:, ~inside()])
    assert not (first[:, inside()] == second[:, inside()]).any()


class StartOn(Method):
    """Start the main branch on given noise, as a picture's inversion does."""

    method: ClassVar[str] = "start-on"
    noise: torch.Tensor

    def start(self):
        return StartOnRun(self.noise)


class StartOnRun:
    def __init__(self, noise):
        self.noise = noise

    @hookimpl(wrapper=True)
    def initial_latents(self, run):
        latents = (yield).clone()
        latents[run.layout.trajectories_of("main")] = self.noise
        return latents


def test_whatever_the_main_branch_starts_on_is_painted_on(edit_session):
    inverted = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    trace = edit_session.trace(StartOn(noise=inverted), EDITS["exact"])
    main, base = trace.steps[0].latents
    assert torch.equal(main[:, ~inside()], inverted[:, ~inside()])
    assert not (main[:, inside()] == inverted[:, inside()]).any()
    assert torch.equal(base, inverted)


def test_exact_keeps_the_pixels_of_the_picture_outside(edit_session):
    free, exact = edit_session(EDITS["free"]), edit_session(EDITS["exact"])
    pixels = torch.zeros(32, 32, dtype=torch.bool)
    pixels[8:, :16] = True
    (image,), (base,) = exact.images, exact.branches["base"]
    assert torch.equal(image[:, ~pixels], base[:, ~pixels])
    plain = edit_session().images[0]
    torch.testing.assert_close(base, plain, atol=1e-5, rtol=0)
    torch.testing.assert_close(image[:, pixels], free.images[0][:, pixels], atol=1e-5, rtol=0)
    assert (free.images[0] - plain)[:, ~pixels].abs().max() > 1e-3  # free lets the rest change


def test_a_mask_file_is_painted_and_its_very_pixels_are_kept(edit_session, tmp_path):
    shades = np.zeros((32, 32), np.uint8)
    shades[9:13, 2:5] = 255  # in one block of 8x8 pixels
    path = save_mask(tmp_path, shades)
    trace = edit_session.trace(Repaint(mask=path, keep="exact"))
    main, base = trace.steps[0].latents
    changed = (main != base).any(0)
    assert changed[2:4, 0:2].all()
    assert int(changed.sum()) == 4
    image, kept = trace.result.images[0], trace.result.branches["base"][0]
    painted = torch.from_numpy(shades > 0)
    assert torch.equal(image[:, ~painted], kept[:, ~painted])
    assert (image != kept)[:, painted].any()


def test_a_mask_in_memory_is_the_mask_of_its_file(edit_session, tmp_path):
    shades = np.zeros((32, 32), np.uint8)
    shades[9:13, 2:5] = 255
    file = edit_session(Repaint(mask=save_mask(tmp_path, shades), keep="exact"))
    memory = edit_session(Repaint(mask=Image.fromarray(shades), keep="exact"))
    assert greatest_difference(file.images, memory.images) == 0
    assert not memory.recipe["reproducible"]
    with pytest.raises(InvalidRequestError, match=r"mask=<PIL.* marks nothing"):
        edit_session(Repaint(mask=Image.new("L", (32, 32))))


def test_colours_of_a_mask_file_count_by_their_lightness(edit_session, tmp_path):
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[8:, :16] = (255, 255, 200)
    picture[:8] = (0, 0, 255)
    images = edit_session(Repaint(mask=save_mask(tmp_path, picture))).images
    assert greatest_difference(images, edit_session(EDITS["free"]).images) == 0


def test_the_recipe_repeats_the_edit(method, edit_session):
    first = edit_session(method)
    again = edit_session.pipeline.replay(json.loads(json.dumps(first.recipe)), output_type="pt")
    assert greatest_difference(first.images, again.images) == 0


def test_what_cannot_be_painted_is_refused_before_the_first_step(
    edit_session, tmp_path, monkeypatch
):
    def never(*_):
        raise AssertionError("the UNet ran")

    monkeypatch.setattr(edit_session.pipeline.engine, "predict", never)
    black, text = np.zeros((32, 32), np.uint8), tmp_path / "mask.txt"
    text.write_text("no picture")
    dotted = black.copy()
    dotted[::8, ::8] = 255  # a dot in every block
    refused = [
        ((0, 0, 1, 1), "everything"),
        ((0, 0, 0.99, 0.99), "everything"),
        ((0, 0, 0.01, 1), "32x32 places"),
        ((0.5, 0, 0.2, 1), "left < right"),
        ((0, 0, 0.5, 2), "fractions"),
        (save_mask(tmp_path, black), "marks nothing"),
        (tmp_path / "absent.png", "no file.*absent.png"),
        (text, "is no picture"),
    ]
    for mask, message in refused:
        with pytest.raises(InvalidRequestError, match=message):
            edit_session(Repaint(mask=mask))
    with pytest.raises(InvalidRequestError, match="everything"):
        edit_session(Repaint(mask=save_mask(tmp_path, dotted)))
    with pytest.raises(InvalidRequestError, match=r"64x32 pixels.*32x32"):
        edit_session(Repaint(mask=save_mask(tmp_path, np.zeros((32, 64), np.uint8))))
    with pytest.raises(InvalidRequestError, match="latents"):
        edit_session(EDITS["on another seed"], latents=torch.zeros(1, *SHAPE))


def test_an_inverted_picture_is_painted_on_and_its_pixels_are_kept(edit_session):
    picture = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(3))
    edit = Repaint(mask=BOX, keep="exact", rank=False)
    trace = edit_session.trace(edit, image=picture)
    first, path = trace.steps[0], trace.result.trajectory
    noise = path.at(first.move.t)[0]
    main = first.latents[first.layout.trajectories_of("main")][0]
    base = first.latents[first.layout.trajectories_of("base")][0]
    assert torch.equal(base, noise)
    moved = (main != noise).any(0)
    assert moved.any()
    assert not moved.all()
    kept = trace.result.image.pixels[0]
    outside = (trace.result.images[0] == kept).all(0)
    assert outside.any()
    assert not outside.all()
    assert torch.equal(trace.result.branches["base"][0], kept)
    for given in ({"image": picture}, {"trajectory": path}):
        with pytest.raises(InvalidRequestError, match="give one of them"):
            edit_session(EDITS["on another seed"], **given)


@pytest.mark.parametrize("parameters", [{"attempt": -1}, {"base_seed": -1}, {"keep": "most"}])
def test_parameters_are_checked(parameters):
    with pytest.raises(ValidationError):
        Repaint(mask=BOX, **parameters)
