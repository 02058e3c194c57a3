"""A result in another order keeps each image with all that belongs to it."""

import pytest
import torch
from underpaint import Branch, Needs, hookimpl
from underpaint.errors import InvalidRequestError

ORDER = [2, 0, 1]
PROMPTS = ["a dog", "a fish", "a bus"]


class Swap:
    @hookimpl
    def needs(self):
        return Needs(edits=True)

    @hookimpl
    def branches(self):
        return [Branch("source", "a cat", real=True)]

    @hookimpl(wrapper=True)
    def decode(self, run):
        run.report("seed", list(run.request.seeds))
        return (yield)


@pytest.fixture
def result(edit_session, make_method, tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERPAINT_CACHE", str(tmp_path))
    pictures = [
        torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in range(3)
    ]
    return edit_session(
        make_method(Swap), prompt=PROMPTS, image=pictures, seed=[5, 6, 7], record_attention=True
    )


def test_everything_moves_with_its_image(result):
    moved = result.reordered(ORDER)
    assert moved.seeds == (7, 5, 6)
    assert moved.reports["seed"] == [7, 5, 6]
    for now, before in enumerate(ORDER):
        assert torch.equal(moved.images[now], result.images[before])
        assert torch.equal(moved.branches["source"][now], result.branches["source"][before])
        assert torch.equal(moved.latents[now], result.latents[before])
        assert torch.equal(moved.image.pixels[now], result.image.pixels[before])
        assert torch.equal(moved.trajectory.pivots[:, now], result.trajectory.pivots[:, before])
        word = PROMPTS[before].split()[1]
        maps = [each.attention.image(k)[word] for each, k in ((moved, now), (result, before))]
        assert torch.equal(*maps)
    assert moved.recipe == result.recipe
    assert moved.reordered([1, 2, 0]).seeds == result.seeds


def test_one_picture_for_all_stays(edit_session, make_method):
    picture = torch.rand(3, 32, 32)
    result = edit_session(make_method(Swap), prompt=PROMPTS[:2], image=picture)
    moved = result.reordered([1, 0])
    assert torch.equal(moved.image.pixels, result.image.pixels)
    assert torch.equal(moved.trajectory.pivots, result.trajectory.pivots)


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [1, 2, 3], []])
def test_an_order_names_each_image_once(result, order):
    with pytest.raises(InvalidRequestError, match="name each of the 3 images once"):
        result.reordered(order)
