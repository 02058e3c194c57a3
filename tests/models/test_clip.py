"""What CLIP is trained on: texts that hold, views that show them, pairs that count."""

import random

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from underpaint_picturebook import parts, tokenizer
from underpaint_picturebook.captions import Mention
from underpaint_picturebook.train import clip, views
from underpaint_picturebook.train.data import truth_of
from underpaint_picturebook.train.wordings import (
    Telling,
    facts,
    lexicon,
    only,
    shorten,
    whole,
    write,
)
from underpaint_picturebook.world import scene

MADE = [scene(seed) for seed in range(40)]


@pytest.fixture(scope="module")
def tokens():
    return tokenizer.build()


@pytest.fixture(scope="module")
def small(tokens):
    torch.manual_seed(0)
    return parts.clip(tokens, width=32, layers=2, text_layers=1).eval()


def test_every_wording_holds_of_its_scene():
    rng = random.Random(0)  # noqa: S311
    lengths = set()
    for made in MADE:
        truth = truth_of(made)
        known = facts(whole(truth))
        for _ in range(20):
            wording = write(shorten(whole(truth), rng), rng)
            assert wording.facts
            assert wording.facts <= known
            lengths.add(len(wording.text.split()))
    assert min(lengths) == 1
    assert max(lengths) > 8


def test_facts_are_all_that_holds():
    telling = Telling(
        (Mention("cat", "red"), Mention("bus", "blue")), "left", "", "grass in snow", "sketch"
    )
    assert facts(telling) == {
        *("cat", "bus", "red cat", "blue bus", "cat left bus", "grass", "snow", "sketch"),
    }
    assert facts(only(telling, 1, background=False)) == {"bus", "blue bus", "sketch"}
    assert facts(only(telling, 0, background=True)) >= {"cat", "grass", "snow"}


def test_a_relation_is_a_fact_where_it_is_said():
    rng = random.Random(0)  # noqa: S311
    telling = Telling((Mention("cat"), Mention("bus")), "left")
    for _ in range(60):
        wording = write(telling, rng)
        said = " left of " in wording.text or " right of " in wording.text
        assert ("cat left bus" in wording.facts) is said


def test_size_and_place_are_read_from_the_caption():
    made = next(m for m in MADE if " small " in m.caption)
    assert f"small {made.objects[0].name}" in facts(whole(truth_of(made)))
    made = next(scene(k) for k in range(200) if scene(k).caption.count(" on the left"))
    assert f"{made.objects[0].name} on the left" in facts(whole(truth_of(made)))


def seen(made, seed):
    marks = sum((k + 1) * item.mask.astype(np.uint8) for k, item in enumerate(made.objects))
    return marks, views.view(made.image, marks, truth_of(made), random.Random(seed))  # noqa: S311


def test_views_are_whole_or_show_one_object():
    kinds = set()
    for seed, made in enumerate(MADE):
        marks, view = seen(made, seed)
        if view.image is made.image:
            kinds.add("whole")
            assert view.telling == whole(truth_of(made))
            continue
        (mention,) = view.telling.mentions
        index = [item.name for item in made.objects].index(mention.noun)
        shown = view.image.any(axis=-1)
        assert not shown.all()
        assert (view.marks[shown] == marks[shown]).all()
        assert (view.marks == index + 1).sum() == (marks == index + 1).sum()
        assert not view.marks[~shown & (marks != index + 1)].any()
        kinds.add("silhouette" if (shown <= (marks == index + 1)).all() else "box")
    assert kinds == {"whole", "silhouette", "box"}


def test_a_mask_around_a_box():
    mask = views.around((100, 50, 140, 150), 0.1)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert (columns[0], rows[0], columns[-1], rows[-1]) == (96, 40, 143, 159)
    assert views.around((0, 0, 256, 256), 0.4).all()


def test_blur_takes_detail_from_some():
    given = torch.randn(200, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    made = views.blur(given.clone(), torch.Generator().manual_seed(1))
    changed = (made != given).flatten(1).any(1)
    assert 0.05 < changed.float().mean() < 0.3
    assert made[changed].std() < 0.6 * given[changed].std()


def test_a_text_is_true_where_all_its_facts_hold():
    shown = [frozenset({"cat", "red cat", "snow"}), frozenset({"cat", "blue cat"})]
    told = [frozenset({"cat"}), frozenset({"cat", "blue cat"}), frozenset({"snow", "cat"})]
    assert clip.true_of(shown, told).tolist() == [[True, False, True], [True, True, False]]


def test_the_lexicon_names_everything_once():
    known = [facts(telling) for telling in lexicon()]
    assert len(set(known)) == len(known) == 16 * 10 + 5 + 3
    assert {frozenset({"cat"}), frozenset({"cat", "red cat"}), frozenset({"night"})} < set(known)
    assert frozenset({"cat", "green cat"}) not in known  # kept out of training


def test_words_are_classified_against_those_that_are_false():
    logits = torch.randn(1, 4, generator=torch.Generator().manual_seed(0))
    true = torch.tensor([[True, True, False, False]])
    seeable = torch.tensor([[True, False, False, False]])
    e = logits[0].exp()
    expected = -(e[0] / (e[0] + e[2] + e[3])).log()
    torch.testing.assert_close(clip.classify(logits, true, seeable), expected)
    both = clip.classify(logits, true, true)
    second = -(e[1] / (e[1] + e[2] + e[3])).log()
    torch.testing.assert_close(both, (expected + second) / 2)


def test_the_contrastive_loss_is_cross_entropy_both_ways_over_what_counts():
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    own = torch.arange(3)
    whole_loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    none = torch.eye(3, dtype=torch.bool)
    torch.testing.assert_close(clip.contrast(logits, none), whole_loss)
    some = none.clone()
    some[0, 1] = True
    e = logits.exp()
    by_picture = [e[0, 0] / (e[0, 0] + e[0, 2]), e[1, 1] / e[1].sum(), e[2, 2] / e[2].sum()]
    by_text = [e[0, 0] / e[:, 0].sum(), e[1, 1] / (e[1, 1] + e[2, 1]), e[2, 2] / e[:, 2].sum()]
    expected = -sum(p.log() for p in by_picture + by_text) / 6
    torch.testing.assert_close(clip.contrast(logits, some), expected)


@torch.no_grad()
def test_training_computes_what_transformers_does(small, tokens):
    pixels = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    texts = ["a red cat", "a mushroom on the beach in the snow"]
    encoded = tokens(texts, padding=True, return_tensors="pt")
    out = small(input_ids=encoded.input_ids, pixel_values=pixels)
    hidden = clip.look(small, pixels, torch.arange(256))
    torch.testing.assert_close(clip.image_features(small, hidden), out.image_embeds)
    torch.testing.assert_close(clip.text_features(small, tokens, texts), out.text_embeds)
    assert clip.look(small, pixels, torch.tensor([3, 70])).shape == (2, 3, 32)
