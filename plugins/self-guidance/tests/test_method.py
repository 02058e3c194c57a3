"""Self-Guidance as a user meets it, on the engine without weights."""

from __future__ import annotations

import json
from inspect import signature

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from underpaint import registry
from underpaint.commands.parameters import add_flags, complete
from underpaint.errors import UnknownWordError
from underpaint.testing import assert_identity_at_zero_strength, check_plugin, greatest_difference
from underpaint_self_guidance import (
    Move,
    SelfGuidance,
    appearance_of,
    collage,
    layout_of,
    move,
    resize,
    rotate,
)
from underpaint_self_guidance.words import objects

PROMPT = "a big dog and a catalogue on green grass"
OTHER = {"prompt": "a red cat", "like": "cat"}

EDITS = {
    "move": SelfGuidance(move("dog", right=0.2)),
    "move to": SelfGuidance(move("dog", to=(0.2, 0.3))),
    "phrase": SelfGuidance(move("big dog", left=0.2, up=0.1)),
    "several tokens": SelfGuidance(resize("catalogue", 1.5)),
    "rotate": SelfGuidance(rotate("dog", 45)),
    "two": SelfGuidance(move("dog", down=0.2), resize("dog", 0.7)),
    "appearance": SelfGuidance(appearance_of("dog", **OTHER)),
    "layout": SelfGuidance(layout_of("dog", **OTHER)),
    "collage": SelfGuidance(collage("dog", **OTHER), collage("grass", seed=9)),
    "restyle": SelfGuidance(source="a photo of a dog and a catalogue on grass", keep="shape"),
    "new layout": SelfGuidance(original_seed=5, keep="appearance"),
}


@pytest.fixture(params=EDITS)
def method(request):
    """Of half the strength: the toy's flat maps have steep outlines."""
    return EDITS[request.param].model_copy(update={"strength": 0.5})


def test_every_edit_keeps_the_rules_of_plugins_and_changes_something(method):
    report = check_plugin(method, prompt=PROMPT)
    assert report.branches[0] == "original"
    assert report.change > 1e-4
    assert report.reproducible


def test_zero_strength_is_no_edit(method):
    off = method.model_copy(update={"strength": 0.0})
    assert_identity_at_zero_strength(off, prompt=PROMPT)


def test_the_change_grows_smoothly_from_nothing(edit_session):
    plain = edit_session(prompt=PROMPT).images
    changes = []
    for strength in (1e-4, 1e-3, 1e-2):
        edited = edit_session(
            SelfGuidance(move("dog", right=0.2), strength=strength), prompt=PROMPT
        )
        changes.append(greatest_difference(edited.images, plain))
    assert 0 < changes[0] < 0.01
    assert 3 < changes[1] / changes[0] < 30
    assert changes[2] > changes[1]


def test_the_original_is_the_plain_picture(method, edit_session):
    edited = edit_session(method, prompt=PROMPT)
    seed = 7 if method.original_seed is None else method.original_seed
    plain = edit_session(prompt=method.source or PROMPT, seed=seed)
    assert greatest_difference(edited.branches["original"], plain.images) < 1e-4


def test_a_batch_equals_single_calls(edit_session):
    """With little weight on outlines: on the toy's flat maps they magnify the last bits."""
    edit = SelfGuidance(move("dog", right=0.2), strength=0.1, shape=0.02, size=0.02)
    prompts, seeds = ["a dog on grass", "the green grass and a dog"], [1, 2]
    both = edit_session(edit, prompt=prompts, seed=seeds).images
    alone = [
        edit_session(edit, prompt=prompt, seed=seed).images[0]
        for prompt, seed in zip(prompts, seeds, strict=True)
    ]
    assert greatest_difference(both, alone) < 1e-4


def test_the_windows_say_which_steps_are_guided(edit_session):
    call = {"prompt": PROMPT, "num_inference_steps": 16}
    edit = SelfGuidance(move("dog", right=0.2), strength=0.5, always=0.25, until=0.75)
    trace, plain = edit_session.trace(edit, **call), edit_session.trace(**call)
    moved = [
        greatest_difference([step.latents[0]], [other.latents[0]])
        for step, other in zip(trace.steps, plain.steps, strict=True)
    ]
    assert moved[0] == 0
    assert moved[1] > 0
    off = SelfGuidance(move("dog", right=0.2), always=0.0, until=0.0)
    assert greatest_difference(edit_session(off, **call).images, plain.result.images) < 1e-4


@pytest.mark.parametrize("real", ["inverted", "noised"])
def test_a_real_picture_is_edited_and_shown(edit_session, real):
    ramp = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    picture = Image.fromarray(ramp)
    edit = SelfGuidance(move("dog", right=0.2), strength=0.5, real=real)
    result = edit_session(edit, prompt="a dog on grass", image=picture, seed=3)
    shown = result.branches["original"][0].permute(1, 2, 0).numpy()
    assert np.abs(shown * 255 - ramp).mean() < 12  # the toy's codec blurs
    assert greatest_difference(result.images, result.branches["original"]) > 1e-3


def test_a_file_is_borrowed_from(edit_session, tmp_path):
    paths = []
    for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
        paths.append(tmp_path / f"{name}.png")
        Image.new("RGB", (32, 32), colour).save(paths[-1])
    results = [
        edit_session(
            SelfGuidance(appearance_of("dog", image=path, prompt="a cat", like="cat"), strength=1)
        )
        for path in paths
    ]
    assert greatest_difference(results[0].images, results[1].images) > 1e-4
    reds = [float(result.branches["other-1"][0][0].mean()) for result in results]
    assert reds[0] > reds[1] + 0.3


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (SelfGuidance(move("cow", right=0.2)), r"'cow' is not in the prompt.*Valid:.*'dog'"),
        (SelfGuidance(others=("horse",)), r"'horse' is not in the prompt"),
        (SelfGuidance(appearance_of("dog", prompt="a cat")), r"'dog' is not in the prompt 'a cat'"),
        (SelfGuidance(move("dog", up=0.1, occurrence=2)), r"occurrence 2 does not exist"),
    ],
)
def test_an_unknown_word_is_an_error_that_lists_the_words(edit_session, edit, message):
    with pytest.raises(UnknownWordError, match=message):
        edit_session(edit, prompt=PROMPT)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: move("dog", right=0.1, to=(0.5, 0.5)), "not both"),
        (lambda: move("dog", to=(1.5, 0.5)), "from 0"),
        (lambda: resize("dog", 0), "greater than 0"),
        (lambda: appearance_of("dog"), "say which picture"),
        (lambda: Move.model_validate("dog 0.2"), "say what '0.2' is, one of down"),
    ],
)
def test_a_bad_value_is_an_error(make, message):
    with pytest.raises(ValidationError, match=message):
        make()


def test_objects_are_the_last_words_of_phrases():
    assert objects("a red cat to the left of a blue bus on grass") == ("cat", "bus", "grass")
    assert objects("Cats") == ("Cats",)


TEXTS = {
    "move": (["cat right 0.2", "red bus: to=0.3,0.5"],
             (move("cat", right=0.2), move("red bus", to=(0.3, 0.5)))),
    "resize": (["bus 1.5"], (resize("bus", 1.5),)),
    "rotate": (['{"word": "boat", "degrees": -30}'], (rotate("boat", -30),)),
    "appearance_of": (["cat:my/other.png", "cat prompt='a green dog' like=dog"],
                      (appearance_of("cat", image="my/other.png"),
                       appearance_of("cat", prompt="a green dog", like="dog"))),
    "layout_of": (["red cat other.png seed=3"],
                  (layout_of("red cat", image="other.png", seed=3),)),
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_the_command_line_reads_texts(name):
    texts, wanted = TEXTS[name]

    def body(method, *, output: str = "") -> object:
        return method

    command = add_flags(SelfGuidance, body)
    assert name in signature(command).parameters
    edit = command(**{name: texts})
    assert getattr(edit, name) == wanted
    assert SelfGuidance.model_validate(
        {key: value for key, value in json.loads(json.dumps(edit.describe())).items()
         if key != "method"}
    ) == edit  # fmt: skip
    assert complete(SelfGuidance, [f"--{name}"]) == [f"--{name}"]  # a series has no bare flag


def test_the_entry_point_names_the_method():
    assert registry.load("methods", "self-guidance") is SelfGuidance
