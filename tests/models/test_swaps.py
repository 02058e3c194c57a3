"""The swap loss: one word swapped, and every other token's value held to what it was."""

import pytest
import torch
from underpaint_picturebook import parts, tokenizer
from underpaint_picturebook.objects import OBJECTS
from underpaint_picturebook.palette import COLOURS
from underpaint_picturebook.train import swaps


@pytest.fixture(scope="module")
def tokens():
    return tokenizer.build()


@pytest.fixture(scope="module")
def swapper(tokens):
    return swaps.Swapper(tokens)


def encode(tokens, caption):
    return torch.tensor([tokens(caption, padding="max_length").input_ids])


def swap(swapper, tokens, caption, places, owners, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = encode(tokens, caption)
    return ids, swapper(ids, torch.tensor([places]), torch.tensor([owners]), generator)


def text(tokens, ids):
    return tokens.decode(ids[0], skip_special_tokens=True).strip()


@pytest.mark.parametrize("seed", range(6))
def test_one_noun_or_colour_is_swapped_for_another_of_its_kind(swapper, tokens, seed):
    _, swapped = swap(swapper, tokens, "a red cat on grass", [2, 3, -1], [0, 0, 0], seed)
    assert swapped.ids.shape == (1, 77)
    _, colour, noun, *rest = text(tokens, swapped.ids).split()
    assert rest == ["on", "grass"]
    assert (colour in COLOURS, noun in OBJECTS) == (True, True)
    assert (colour == "red") != (noun == "cat")


@pytest.mark.parametrize("caption", ["a cat on grass", "a mushroom on grass"])
@pytest.mark.parametrize("seed", range(12))
def test_places_follow_every_other_token(swapper, tokens, caption, seed):
    length = 2 if "mushroom" in caption else 1
    places = [2, 3] if length == 2 else [2, -1]
    ids, swapped = swap(swapper, tokens, caption, places, [0, 0], seed)
    stays = swapped.places[0] >= 0
    assert torch.equal(ids[0][stays], swapped.ids[0][swapped.places[0][stays]])
    assert (~stays[:10]).nonzero().flatten().tolist() == places[:length]


def test_the_colour_of_a_swapped_noun_may_change_and_the_other_objects_may_not(swapper, tokens):
    caption = "a red cat and a blue bus"
    for seed in range(6):
        _, swapped = swap(swapper, tokens, caption, [2, 3, 6, 7], [0, 0, 1, 1], seed)
        free = (swapped.places[0] < 0).nonzero().flatten().tolist()
        assert free in ([2, 3], [6, 7])


def test_a_caption_that_names_nothing_stays(swapper, tokens):
    ids, swapped = swap(swapper, tokens, "", [-1], [0])
    assert torch.equal(swapped.ids, ids)
    assert torch.equal(swapped.places, torch.arange(77)[None])


def test_a_full_caption_loses_its_end_and_says_so(swapper, tokens):
    ids = encode(tokens, "a cat" + " on grass" * 40)[:, :77]
    lengths = set()
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        swapped = swapper(ids, torch.tensor([[2]]), torch.tensor([[0]]), generator)
        assert swapped.ids.shape == (1, 77)
        assert int(swapped.places.max()) <= 76
        lengths.add(int(swapped.places[0, -1]))
    assert lengths == {76, -1}


def layers_and_maps():
    torch.manual_seed(0)
    unet = parts.unet((16, 32, 32), (1, 2, 2), 8).requires_grad_(False)
    layers = swaps.value_layers(unet)
    return layers, [torch.full((2, 64, 77), 1 / 77) for _ in layers]


def test_no_change_costs_nothing_and_a_change_counts_where_it_is_looked_at():
    layers, maps = layers_and_maps()
    context = torch.randn(2, 77, 8)
    places = torch.arange(77).expand(2, -1).clone()
    assert float(swaps.loss(layers, maps, context, context, places)) == 0
    other = context.clone()
    other[:, 5] += 1
    changed = float(swaps.loss(layers, maps, context, other, places))
    assert changed > 0
    unseen = [layer.index_fill(2, torch.tensor([5]), 0.0) for layer in maps]
    assert float(swaps.loss(layers, unseen, context, other, places)) == 0
    places[:, 5] = -1
    assert float(swaps.loss(layers, maps, context, other, places)) == 0


def test_a_token_is_held_against_the_place_it_went_to():
    layers, maps = layers_and_maps()
    context = torch.randn(2, 77, 8)
    moved = torch.roll(context, 1, dims=1)
    places = (torch.arange(77) + 1).expand(2, -1).clone()
    places[:, -1] = -1
    assert float(swaps.loss(layers, maps, context, moved, places)) == pytest.approx(0, abs=1e-9)


def test_there_is_a_value_layer_for_each_recorded_map():
    from underpaint_picturebook.train import grounding

    unet = parts.unet((16, 32, 32), (1, 2, 2), 8).requires_grad_(False)
    layers, recorders = swaps.value_layers(unet), grounding.record(unet)
    assert len(layers) == len(recorders) == 7
