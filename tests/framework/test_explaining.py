"""What a call would do, held against what it then does; and conflicts before the UNet is asked."""

from __future__ import annotations

import pytest
import torch
from underpaint import AttentionEdit, Branch, Guidance, Move, Needs, SiteSelector, Tap, hookimpl
from underpaint.errors import ConflictError, InvalidRequestError, NotOfferedError, UnknownSiteError
from underpaint.explaining import explain
from underpaint.pipeline import Pipeline
from underpaint.testing import ToyEngine

STEPS = 6
CALL = {"num_inference_steps": STEPS, "seed": 3}


class Counting(ToyEngine):
    """Counts how often the UNet is asked, and how often with a gradient."""

    def __init__(self, **options):
        super().__init__(**options)
        self.evaluations = self.gradients = 0

    def predict(self, call):
        self.evaluations += 1
        return super().predict(call)

    def linearize(self, call, wrt):
        self.evaluations += 1
        self.gradients += 1
        return super().linearize(call, wrt)


class Swap:
    """Takes cross attention from a second branch in the first half."""

    @hookimpl
    def needs(self):
        return Needs(edits=True)

    @hookimpl
    def branches(self):
        return [Branch("source", "a cat on green grass", real=True)]

    @hookimpl
    def attention_edits(self, step):
        if step.index >= 3:
            return []
        return [AttentionEdit("main", "source", cross_map=torch.eye(77))]


class Scale:
    """Scales a token."""

    @hookimpl
    def needs(self):
        return Needs(edits=True)

    @hookimpl
    def attention_edits(self):
        return [AttentionEdit("main", "main", cross_scale=torch.ones(77))]


def guiding(into, halves=("uncond", "cond"), until=3):
    class Guide:
        @hookimpl
        def needs(self):
            return Needs(gradient=frozenset({"sample"}))

        @hookimpl
        def guidance(self, step):
            def energy(seen):
                return seen.x0.square().mean((1, 2, 3))[:1]

            return [Guidance(energy, 0.01, into, halves=halves)] if step.index < until else []

    return Guide


class Resampling:
    """Goes back once."""

    @hookimpl(wrapper=True)
    def schedule(self):
        moves = yield
        first = moves[0]
        return (first, Move(first.next_t, first.t, kind="renoise"), *moves)


@pytest.mark.parametrize(
    "plugins",
    [
        (),
        (Swap,),
        (guiding("noise"),),
        (guiding("latents", ("cond",)), Swap),
        (guiding("noise", ()), guiding("latents")),
        (Resampling, Swap),
    ],
    ids=["plain", "swap", "noise", "latents and swap", "direct and latents", "renoise"],
)
def test_the_evaluations_are_those_of_the_run(make_method, plugins):
    engine = Counting()
    pipe = Pipeline(engine)
    edits = [make_method(plugin, f"plugin-{i}") for i, plugin in enumerate(plugins)]
    call = {**CALL, "prompt": "a dog on green grass", "edits": edits}
    told = explain(pipe, **call).evaluations
    assert engine.evaluations == 0  # the UNet was not asked
    pipe(**call)
    assert (told.edit, told.gradients) == (engine.evaluations, engine.gradients)


def test_a_split_request_and_an_inversion_are_counted(make_method):
    engine = Counting(max_rows=8)
    pipe = Pipeline(engine)
    call = {
        **CALL,
        "prompt": ["a dog on grass"] * 5,
        "edits": [make_method(Swap, "swap")],
        "image": torch.rand(3, 32, 32),
        "refinements": 1,
    }
    told = explain(pipe, **call)
    assert engine.evaluations == 0
    assert (told.images, told.runs, told.rows) == (5, 3, 6)
    pipe(**call)
    assert told.evaluations.inversion + told.evaluations.edit == engine.evaluations


def test_branches_name_their_rows_and_starts(edit_session, make_method):
    call = {**CALL, "prompt": "a dog on grass", "edits": [make_method(Swap, "swap")]}
    main, source = explain(edit_session.pipeline, **call).branches
    assert (main.name, main.prompts, main.rows) == ("main", ("a dog on grass",), ("uncond", "cond"))
    assert (source.prompts, source.starts) == (("a cat on green grass",), "its noise")
    source = explain(edit_session.pipeline, **call, image=torch.rand(3, 32, 32)).branches[1]
    assert source.rows == ("cond",)
    assert "which it follows" in source.starts


def test_steps_name_who_acts(edit_session, make_method):
    edits = [make_method(Swap, "swap"), make_method(guiding("noise", until=2), "guide")]
    found = explain(edit_session.pipeline, prompt="a dog", edits=edits, **CALL)
    assert [step.index for step in found.steps if step.edits == ("swap",)] == [0, 1, 2]
    assert [step.index for step in found.steps if step.guidance == ("guide",)] == [0, 1]
    assert found.hooks["attention_edits"] == {"swap": "adds"}
    assert found.hooks["predict"] == {"core": "begins", "core.recorder": "wraps"}


def test_a_variant_says_who_asked(edit_session, make_method):
    def told(*plugins, **call):
        edits = [make_method(plugin, f"plugin-{i}") for i, plugin in enumerate(plugins)]
        found = explain(edit_session.pipeline, prompt="a dog", edits=edits, **CALL, **call)
        return found.variant, found.because

    assert told() == ("plain", {})
    assert told(Swap, record_attention=False) == ("edited", {"edited": ("plugin-0",)})
    variant, because = told(guiding("noise"), Scale)
    assert variant == "edited + taps + gradient"
    assert because["gradient"] == ("plugin-0",)
    assert because["taps"] == ("core.recorder",)


def test_a_fallback_says_why(make_method):
    class Limited(ToyEngine):
        def check(self, needs, size):
            if needs.gradient:
                raise NotOfferedError("No gradients here.")

        def fallback(self):
            other = ToyEngine()
            other.name = "other"
            return other

    edits = [make_method(guiding("noise"), "guide")]
    found = explain(Pipeline(Limited()), prompt="a dog", edits=edits, **CALL)
    assert found.engine == "other"
    assert "No gradients here." in found.fallback


class Clashing:
    """Writes the scale from the fourth step on, where `Scale` writes it too."""

    @hookimpl
    def needs(self):
        return Needs(edits=True)

    @hookimpl
    def attention_edits(self, step):
        return [AttentionEdit("main", "main", cross_scale=torch.ones(77))] if step.index > 2 else []


class Reading:
    """Reads a site that is not there."""

    @hookimpl
    def needs(self):
        return Needs(taps=(Tap(SiteSelector("cross", names=frozenset({"nowhere"}))),))


class Orphan:
    """Reads a half that its source does not have."""

    @hookimpl
    def needs(self):
        return Needs(edits=True)

    @hookimpl
    def branches(self):
        return [Branch("lone", "a cat", guidance_scale=1.0)]

    @hookimpl
    def attention_edits(self, step):
        if step.index < 3:
            return []
        return [AttentionEdit("main", "lone", "uncond", cross_map=torch.eye(77))]


class Replacing:
    """Replaces a firstresult hook."""

    @hookimpl
    def decode(self, latents):
        return torch.zeros(len(latents), 3, 4, 4)


@pytest.mark.parametrize(
    ("plugins", "error", "message"),
    [
        ((Scale, Clashing), ConflictError, "'plugin-0' and 'plugin-1' both write .*at step 3"),
        ((Swap, Swap), ConflictError, "'plugin-0' and 'plugin-1' both bring a branch"),
        ((Replacing, Replacing), ConflictError, "'plugin-0' and 'plugin-1' both replace"),
        ((Scale, Reading), UnknownSiteError, "'plugin-1' reads what is not there"),
        ((Scale, Orphan), InvalidRequestError, "has no such row"),
    ],
    ids=["one edit", "one branch", "one hook", "no site", "no row"],
)
def test_plan_and_run_tell_the_same_conflict_before_the_unet_is_asked(
    make_method, plugins, error, message
):
    engine = Counting()
    pipe = Pipeline(engine)
    edits = [make_method(plugin, f"plugin-{i}") for i, plugin in enumerate(plugins)]
    told = []
    for run in (lambda **call: explain(pipe, **call), pipe):
        with pytest.raises(error, match=message) as caught:
            run(prompt="a dog", edits=edits, **CALL)
        told.append(str(caught.value))
    assert told[0] == told[1]
    assert engine.evaluations == 0


def test_windows_that_do_not_overlap_are_no_conflict(edit_session, make_method):
    class Late(Clashing):
        @hookimpl
        def attention_edits(self, step):
            return [AttentionEdit("main", "source", cross_map=torch.eye(77))] * (step.index >= 3)

    edits = [make_method(Swap, "swap"), make_method(Late, "late")]
    found = explain(edit_session.pipeline, prompt="a dog", edits=edits, **CALL)
    assert [step.edits for step in found.steps] == [("swap",)] * 3 + [("late",)] * 3
    edit_session(*edits)
