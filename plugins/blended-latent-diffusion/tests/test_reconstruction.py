"""What each way of keeping the background keeps."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from underpaint.errors import NotOfferedError
from underpaint.testing import ToyEngine, greatest_difference
from underpaint_blended_latent_diffusion import BlendedLatentDiffusion
from underpaint_blended_latent_diffusion.reconstruction import Decoded, Reconstruction

BOX = (10 / 32, 6 / 32, 22 / 32, 18 / 32)  # cells 2.5 to 5.5 by 1.5 to 4.5
INSIDE = torch.zeros(32, 32, dtype=torch.bool)
INSIDE[6:18, 10:22] = True
REACH = torch.zeros(32, 32, dtype=torch.bool)
REACH[4:20, 8:24] = True


def bytes_of(image):
    return np.asarray(image)


def edited(session, picture, preserve, **call):
    edit = BlendedLatentDiffusion(box=BOX, preserve=preserve)
    return session(edit, image=picture, **call)


@pytest.mark.parametrize("seed", [0, 1])
def test_exact_keeps_every_byte_outside_of_the_touched_cells(session, picture, seed):
    result = edited(session, picture(seed), "exact", output_type="pil")
    given = np.uint8(picture(seed).permute(1, 2, 0).numpy() * 255 + 0.5)
    same = (bytes_of(result.images[0]) == given).all(-1)
    assert same[~REACH.numpy()].all()
    assert not same[INSIDE.numpy()].all()


def test_exact_keeps_every_byte_after_twenty_edits_in_a_row(session, picture):
    current = first = Image.fromarray(np.uint8(picture().permute(1, 2, 0).numpy() * 255 + 0.5))
    for turn in range(20):
        result = edited(session, current, "exact", output_type="pil", seed=turn)
        assert not np.array_equal(bytes_of(result.images[0]), bytes_of(current))
        current = result.images[0]
    outside = ~REACH.numpy()
    assert np.array_equal(bytes_of(current)[outside], bytes_of(first)[outside])


def test_paste_keeps_all_that_is_outside_of_the_mask_and_none_keeps_nothing(session, picture):
    plain = edited(session, picture(), "none").images[0]
    pasted = edited(session, picture(), "paste").images[0]
    assert torch.equal(pasted[:, ~INSIDE], picture()[:, ~INSIDE])
    assert torch.equal(pasted[:, INSIDE], plain[:, INSIDE])
    assert not torch.allclose(plain[:, ~REACH], picture()[:, ~REACH], atol=0.05)


def test_a_soft_mask_is_pasted_by_its_weights(session, picture):
    mask = Image.new("L", (32, 32))
    mask.paste(51, (8, 8, 16, 16))
    plain, pasted = (
        session(
            BlendedLatentDiffusion(mask=mask, soft=True, preserve=preserve), image=picture()
        ).images[0]
        for preserve in ("none", "paste")
    )
    mixed = 0.2 * plain + 0.8 * picture()
    assert torch.allclose(pasted[:, 8:16, 8:16], mixed[:, 8:16, 8:16], atol=1e-6)


def test_poisson_takes_the_edit_s_gradients_and_the_picture_s_level(session, picture):
    pytest.importorskip("cv2")
    smooth = torch.full((3, 32, 32), 0.5)
    made = smooth + 0.2  # the same gradients, another level
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., 6:18, 10:22] = 1
    latents = torch.zeros(1, 4, 8, 8)
    decoded = Decoded(made[None], latents, smooth[None], mask, mask)
    blended = Reconstruction("poisson", 1, 1.0)(None, decoded)[0]
    assert (blended - smooth).abs().max() < 0.01
    result = edited(session, picture(), "poisson").images[0]
    assert torch.allclose(result[:, ~INSIDE], picture()[:, ~INSIDE], atol=1e-6)
    assert (result - picture())[:, INSIDE].abs().mean() > 0.02


@pytest.mark.parametrize("box", [(0, 0, 0.5, 0.5), (0.5, 0.25, 1, 1), (0, 0, 1, 0.75)])
def test_poisson_keeps_in_place_what_reaches_the_edge(box):
    pytest.importorskip("cv2")
    dark, stripe = torch.full((1, 3, 32, 32), 0.25), torch.full((1, 3, 32, 32), 0.25)
    left, top, right, bottom = (int(32 * side) for side in box)
    row, column = (top + bottom) // 2, (left + right) // 2
    stripe[..., row : row + 2, column : column + 2] = 0.75
    mask = torch.zeros(1, 1, 32, 32)
    mask[..., top:bottom, left:right] = 1
    decoded = Decoded(stripe, torch.zeros(1, 4, 8, 8), dark, mask, mask)
    blended = Reconstruction("poisson", 1, 1.0)(None, decoded)
    found = (blended[0, 0] > 0.6).nonzero().tolist()
    assert found == [[r, c] for r in (row, row + 1) for c in (column, column + 1)]


def test_poisson_without_opencv_says_what_to_install(session, picture, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(NotOfferedError, match=r"blended-latent-diffusion\[poisson\]"):
        edited(session, picture(), "poisson")


def objective(images, made, picture, weight):
    """The paper's, value by value."""
    inside = INSIDE.float()
    edit = (inside * (images - made)).square().mean()
    return float(edit + weight * ((1 - inside) * (images - picture)).square().mean())


@pytest.mark.parametrize("preserve", ["latents", "decoder"])
@pytest.mark.parametrize("seed", [0, 1])
def test_optimisation_goes_down_its_objective_and_leaves_the_engine_alone(
    session, picture, preserve, seed
):
    engine = session.pipeline.engine
    colours = engine.colours.clone()
    plain = edited(session, picture(seed), "none").images[0]
    fitted = edited(session, picture(seed), preserve).images[0]
    before, after = (objective(each, plain, picture(seed), 100) for each in (plain, fitted))
    assert after < (0.999 if preserve == "decoder" else 0.9) * before
    assert torch.equal(engine.colours, colours)
    assert torch.equal(edited(session, picture(seed), "none").images[0], plain)


def test_the_decoder_s_optimisation_is_adam_on_its_weights_written_out(picture):
    """One step of Adam moves each weight by its rate against the sign of its gradient."""
    engine, latent = ToyEngine(), torch.randn(1, 4, 8, 8)
    mask = INSIDE.float()[None, None]
    made = Decoded(engine.decode_latents(latent), latent, picture()[None], mask, mask)
    leaf = engine.colours.clone().requires_grad_()
    cells = torch.einsum("blhw,cl->bchw", latent, leaf) / 2 + 0.5
    images = cells.repeat_interleave(4, 2).repeat_interleave(4, 3)
    loss = (mask * (images - made.images)).square().mean()
    loss = loss + 7 * ((1 - mask) * (images - made.picture)).square().mean()
    (gradient,) = torch.autograd.grad(loss, leaf)
    decoder = engine.decoder()
    Reconstruction("decoder", 1, 7.0).fit(decoder, made)
    assert torch.allclose(decoder.colours, engine.colours - 1e-4 * gradient.sign(), atol=1e-6)


def test_each_image_has_a_decoder_of_its_own(session, picture):
    both = edited(session, [picture(0), picture(1)], "decoder", prompt=["a dog", "a fish"])
    alone = edited(session, picture(1), "decoder", prompt="a fish")
    assert greatest_difference(both.images[1:], alone.images) < 1e-3


def test_optimisation_works_in_the_caller_s_inference_mode(session, picture):
    usual = edited(session, picture(), "latents").images
    with torch.inference_mode():
        again = edited(session, picture(), "latents").images
    assert greatest_difference(usual, again) == 0


def test_latents_alone_are_handed_on_as_they_are(session, picture):
    result = edited(session, picture(), "exact", output_type="latent")
    assert torch.equal(result.images[0], result.latents[0])
