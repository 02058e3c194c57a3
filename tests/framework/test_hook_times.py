"""Times by hook, plugin and step: whose they are, and no cost when off."""

from __future__ import annotations

import pluggy
import pytest
import torch
from underpaint import Guidance, HookTimes, Needs, hookimpl


class Clock:
    """A clock that goes on only when somebody sleeps."""

    def __init__(self):
        self.now = 0.0

    def sleep(self):
        self.now += 1


@pytest.fixture
def clock(monkeypatch):
    own = Clock()
    monkeypatch.setattr("underpaint.hook_times.perf_counter", lambda: own.now)
    return own


@pytest.fixture
def sleeper(clock, make_method):
    """Return an edit that sleeps in both halves of a wrapper, in a hook, and in an energy."""

    class Sleeper:
        @hookimpl
        def needs(self):
            return Needs(gradient=frozenset({"sample"}))

        @hookimpl(wrapper=True)
        def predict(self):
            clock.sleep()
            prediction = yield
            clock.sleep()
            return prediction

        @hookimpl(wrapper=True)
        def combine(self):
            clock.sleep()
            return (yield)

        @hookimpl
        def guidance(self):
            def energy(seen):
                clock.sleep()
                return seen.x0.square().mean((1, 2, 3))

            return [Guidance(energy, 0.01)]

    return make_method(Sleeper, "sleeper")


class Wrapping:
    """Wraps a sleeper, and does nothing itself."""

    @hookimpl(wrapper=True)
    def predict(self):
        return (yield)


def test_each_hook_has_its_own_time_and_not_that_of_what_it_wraps(
    edit_session, sleeper, clock, make_method
):
    times = HookTimes()
    wrapping = make_method(Wrapping, "wrapping")
    edit_session(sleeper, wrapping, num_inference_steps=3, trace_hooks=times)
    found = times.totals()
    assert found["sleeper", "predict"] == (3, 6.0)
    assert found["sleeper", "energy"] == (3, 3.0)
    assert found["wrapping", "predict"] == (3, 0.0)
    assert found["core", "predict"] == (3, 0.0)  # the energy and `combine` ran inside of it
    assert sum(entry.seconds for entry in times.entries) == clock.now
    assert next(iter(found)) == ("sleeper", "predict")  # the longest first


def test_entries_name_the_steps(edit_session, make_method):
    times = HookTimes()
    edit_session(make_method(Wrapping, "wrapping"), num_inference_steps=3, trace_hooks=times)
    steps = [e.step for e in times.entries if (e.plugin, e.hook) == ("wrapping", "predict")]
    assert steps == [0, 1, 2]
    around = {e.hook: e.step for e in times.entries if e.step is None}
    assert {"schedule", "conditioning", "initial_latents", "decode", "result"} <= set(around)
    assert {e.stage for e in times.entries} == {"edit"}


def test_the_picture_does_not_change(edit_session, sleeper, make_method):
    edits = (sleeper, make_method(Wrapping, "wrapping"))
    plain, traced = edit_session(*edits), edit_session(*edits, trace_hooks=HookTimes())
    assert torch.equal(plain.images[0], traced.images[0])


def test_an_inversion_is_a_stage_of_its_own(edit_session):
    times = HookTimes()
    pixels = torch.rand(3, 32, 32)
    edit_session.pipeline.invert(pixels, "a dog", num_inference_steps=2, trace_hooks=times)
    assert {entry.stage for entry in times.entries} == {"inversion"}
    assert ("core.inversion", "predict") in times.totals()


def test_a_call_without_it_is_watched_by_nobody(edit_session, make_method, monkeypatch):
    def refuse(*_):
        raise AssertionError("nobody asked for times")

    monkeypatch.setattr(pluggy.PluginManager, "add_hookcall_monitoring", refuse)
    registered = []
    register = pluggy.PluginManager.register

    def spied(self, plugin, name=None):
        registered.append(plugin)
        return register(self, plugin, name)

    monkeypatch.setattr(pluggy.PluginManager, "register", spied)
    edit_session(make_method(Wrapping, "wrapping"))
    assert {type(plugin).__name__ for plugin in registered} == {"Core", "Wrapping"}


@pytest.mark.parametrize("where", ["before", "after", "inside"])
def test_an_error_is_blamed_on_the_same_plugin(edit_session, make_method, where):
    class Raising:
        @hookimpl(wrapper=True)
        def advance(self):
            if where == "before":
                raise ZeroDivisionError
            latents = yield
            if where == "after":
                raise ZeroDivisionError
            return latents

        @hookimpl
        def before_step(self):
            if where == "inside":
                raise ZeroDivisionError

    class Around:
        @hookimpl(wrapper=True)
        def advance(self):
            return (yield)

    edits = (make_method(Raising, "raising"), make_method(Around, "around"))
    notes = []
    for times in (None, HookTimes()):
        with pytest.raises(ZeroDivisionError) as caught:
            edit_session(*edits, trace_hooks=times)
        notes.append(caught.value.__notes__)
    assert notes[0] == notes[1]
    assert "'raising'" in notes[0][0]


def test_a_wrapper_may_mend_what_went_wrong_below(edit_session, make_method):
    class Broken:
        @hookimpl(wrapper=True)
        def decode(self):
            yield
            raise ZeroDivisionError

    class Mending:
        @hookimpl(wrapper=True)
        def decode(self, latents):
            try:
                return (yield)
            except ZeroDivisionError:
                return torch.zeros(len(latents), 3, 4, 4)

    edits = (make_method(Broken, "broken"), make_method(Mending, "mending"))
    assert float(edit_session(*edits, trace_hooks=HookTimes()).images[0].abs().max()) == 0
