"""An error says which plugin, hook and step it came from, and blames nobody else."""

from __future__ import annotations

import pytest
from underpaint import Guidance, Needs, hookimpl
from underpaint.hooks import FIRSTRESULT


def raising(hook, wrapper=False):
    def implementation(self):
        if wrapper:
            yield
        raise ZeroDivisionError("the plugin's own error")

    def plain(self):
        raise ZeroDivisionError("the plugin's own error")

    marked = hookimpl(wrapper=True)(implementation) if wrapper else hookimpl(plain)
    return type("Plugin", (), {hook: marked})


class Bystander:
    """Wraps everything, so that it is on the way of every error."""

    @hookimpl(wrapper=True)
    def schedule(self):
        return (yield)

    @hookimpl(wrapper=True)
    def predict(self):
        return (yield)

    @hookimpl(wrapper=True)
    def advance(self):
        return (yield)

    @hookimpl(wrapper=True)
    def decode(self):
        return (yield)

    @hookimpl(wrapper=True)
    def result(self):
        return (yield)


def test_an_error_says_which_plugin_hook_and_step_raised_it(edit_session, make_method):
    class Late:
        @hookimpl
        def after_step(self, step):
            if step.index == 2:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        edit_session(make_method(Late, "late"))
    t = edit_session.pipeline.engine.info.noise.moves(4)[2].t
    assert caught.value.__notes__ == [
        f"underpaint: raised by plugin 'late' in hook 'after_step', step 2 (t={t})"
    ]


@pytest.mark.parametrize(
    ("hook", "where"),
    [
        ("needs", "planned"),
        ("branches", "planned"),
        ("schedule", "before the first step"),
        ("conditioning", "before the first step"),
        ("initial_latents", "before the first step"),
        ("before_step", "step 0"),
        ("attention_edits", "step 0"),
        ("guidance", "step 0"),
        ("combine", "step 0"),
        ("advance", "step 0"),
        ("after_step", "step 0"),
        ("decode", "after the last step"),
        ("result", "with all images done"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_every_hook_is_annotated_and_bystanders_are_not_blamed(
    edit_session, make_method, hook, where, order
):
    edits = [make_method(raising(hook), "guilty"), make_method(Bystander, "bystander")]
    with pytest.raises(ZeroDivisionError) as caught:
        edit_session(*edits[::order])
    (note,) = caught.value.__notes__
    assert f"plugin 'guilty' in hook '{hook}'" in note
    assert where in note


def test_a_helper_that_raises_is_blamed_on_its_hook(edit_session, make_method):
    class Helped:
        @hookimpl
        def before_step(self, step):
            self.helper()

        def helper(self):
            return 1 / 0

    with pytest.raises(ZeroDivisionError) as caught:
        edit_session(make_method(Helped, "helped"), make_method(Helped, "second"))
    (note,) = caught.value.__notes__
    assert "'second' in hook 'before_step'" in note  # observers: last in, first called


@pytest.mark.parametrize("hook", FIRSTRESULT)
def test_wrappers_are_annotated_too(edit_session, make_method, hook):
    edits = [make_method(raising(hook, wrapper=True), "guilty"), make_method(Bystander, "by")]
    with pytest.raises(ZeroDivisionError) as caught:
        edit_session(*edits)
    (note,) = caught.value.__notes__
    assert f"plugin 'guilty' in hook '{hook}'" in note


class LambdaEnergy:
    @hookimpl
    def needs(self):
        return Needs(gradient=frozenset({"sample"}))

    @hookimpl
    def guidance(self):
        return [Guidance(lambda observation: 1 / 0)]


class MethodEnergy:
    @hookimpl
    def needs(self):
        return Needs(gradient=frozenset({"sample"}))

    @hookimpl
    def guidance(self):
        return [Guidance(self.energy)]

    def energy(self, observation):
        return 1 / 0


@pytest.mark.parametrize("plugin", [LambdaEnergy, MethodEnergy])
def test_an_energy_that_raises_names_its_plugin(edit_session, make_method, plugin):
    with pytest.raises(ZeroDivisionError) as caught:
        edit_session(make_method(plugin, "energetic"), make_method(Bystander, "by"))
    (note,) = caught.value.__notes__
    assert "plugin 'energetic' in hook 'guidance', step 0" in note


def test_an_error_of_the_engine_blames_no_plugin(edit_session, make_method):
    class TooMany:
        @hookimpl(wrapper=True)
        def predict(self):
            return (yield)

    class Engine(type(edit_session.pipeline.engine)):
        def predict(self, call):
            raise MemoryError

    pipeline = type(edit_session.pipeline)(Engine())
    with pytest.raises(MemoryError) as caught:
        pipeline("a dog", edits=[make_method(TooMany)])
    assert not getattr(caught.value, "__notes__", [])
