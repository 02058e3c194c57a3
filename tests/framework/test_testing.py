"""The checks for plugin authors find what they are for."""

import json
from itertools import count
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from underpaint import Method, Pipeline, hookimpl
from underpaint.errors import CancelledError, PluginError
from underpaint.testing import (
    CheckFailedError,
    ToyEngine,
    assert_clean_cancel,
    assert_deterministic,
    assert_identity_at_zero_strength,
    check_plugin,
)


class Brighter(Method):
    """A good citizen."""

    method: ClassVar[str] = "brighter"
    strength: float = 0.5
    words: tuple[str, ...] = ()

    def start(self):
        return BrighterRun(self.strength)


class BrighterRun:
    def __init__(self, strength):
        self.strength = strength

    @hookimpl(wrapper=True)
    def decode(self):
        images = yield
        return images + self.strength * (1 - images)


def variant(start=None, **fields):
    """Return Brighter with another start and other class attributes."""
    body = {"__annotations__": {}, **fields}
    if start:
        body["start"] = start
    return type("Variant", (Brighter,), body)()


def test_a_good_method_passes_and_is_described():
    report = check_plugin(Brighter())
    assert report.method == "brighter"
    assert report.hooks == ("decode",)
    assert report.branches == ()
    assert 0.1 < report.change <= 1
    assert check_plugin(Brighter(strength=0.0)).change == 0


def test_a_good_method_passes_on_another_pipeline():
    engine = ToyEngine("v_prediction", context_length=12)
    report = check_plugin(Brighter(words=("dog",)), Pipeline(engine), "a dog", seed=1)
    assert report.change > 0


def test_zero_strength():
    assert_identity_at_zero_strength(Brighter(strength=0.0))
    with pytest.raises(CheckFailedError, match=r"brighter at zero strength changes the image"):
        assert_identity_at_zero_strength(Brighter(strength=0.01))
    with pytest.raises(AssertionError):
        assert_identity_at_zero_strength(Brighter())


def test_registration_errors_come_through():
    class Misspelt:
        @hookimpl
        def decod(self):
            return None

    with pytest.raises(PluginError, match=r"no hook 'decod'.*mean 'decode'"):
        check_plugin(variant(lambda self: Misspelt()))


def test_a_shared_plugin_is_found():
    shared = BrighterRun(0.5)
    with pytest.raises(PluginError, match=r"start\(\) returned the same object twice"):
        check_plugin(variant(lambda self: shared))


def test_state_that_outlives_its_run_is_found():
    numbers = count(1)
    forgetful = variant(lambda self: BrighterRun(1 / next(numbers)))
    with pytest.raises(CheckFailedError, match=r"another image when the call is repeated"):
        check_plugin(forgetful)
    with pytest.raises(CheckFailedError, match=r"run.randn"):
        assert_deterministic(forgetful)


def test_a_changed_parameter_is_found():
    class Grows(Method):
        method: ClassVar[str] = "grows"
        names: list[str] = []  # noqa: RUF012

        def start(self):
            self.names.append("another")
            return BrighterRun(0.5)

    with pytest.raises(CheckFailedError, match=r"grows: a run changed the parameter 'names'"):
        check_plugin(Grows())


def test_a_cancelled_call_that_ends_is_found(monkeypatch):
    from underpaint import CancelToken

    monkeypatch.setattr(CancelToken, "check", lambda self, step, steps: None)
    with pytest.raises(CheckFailedError, match=r"a cancelled call went on to its end"):
        assert_clean_cancel(Brighter())
    assert issubclass(CancelledError, Exception)


def test_state_after_a_cancelled_call_is_found():
    class Leaks:
        started, ended = 0, 0

        @hookimpl
        def before_step(self, step):
            Leaks.started += step.index == 0

        @hookimpl(wrapper=True)
        def decode(self):
            Leaks.ended += 1
            images = yield
            return images if Leaks.started == Leaks.ended else images / 2

    with pytest.raises(CheckFailedError, match=r"another image after a cancelled call"):
        assert_clean_cancel(variant(lambda self: Leaks()))


@pytest.mark.parametrize(
    ("describe", "message"),
    [
        (lambda self: {"method": "other"}, r"describe\(\) says method='other'"),
        (lambda self: {"method": "brighter"}, r"another edit after a round trip"),
    ],
)
def test_a_description_that_loses_parameters_is_found(describe, message):
    lossy = type("Lossy", (Brighter,), {"describe": describe})(strength=0.2)
    with pytest.raises(CheckFailedError, match=message):
        check_plugin(lossy)


def test_a_parameter_that_json_cannot_hold_is_reported():
    class Holds(Brighter):
        value: torch.Tensor = torch.zeros(1)

    assert check_plugin(Brighter()).reproducible
    assert not check_plugin(Holds()).reproducible


def test_a_method_without_a_name_is_found():
    class Nameless(Method):
        def start(self):
            return BrighterRun(0.5)

    with pytest.raises(PluginError, match=r"Nameless has no name"):
        check_plugin(Nameless())


def test_trace_holds_what_each_step_saw(edit_session):
    trace = edit_session.trace(Brighter(), num_inference_steps=3)
    assert [step.index for step in trace.steps] == [0, 1, 2]
    assert len(trace.predictions) == len(trace.latents) == 3
    assert torch.equal(trace.steps[1].latents, trace.latents[0])
    assert torch.equal(
        trace.result.images[0], edit_session(Brighter(), num_inference_steps=3).images[0]
    )
    assert "testing.spy" in [edit["method"] for edit in trace.result.recipe["edits"]]


def test_fixtures_give_fresh_engines(toy_engine, edit_session):
    assert edit_session.pipeline.engine is toy_engine


def test_cli_runs_a_command_in_an_empty_folder(cli, tmp_path):
    code, out, err = cli("plugins", "list", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)
    assert Path.cwd() == tmp_path
    assert cli("no-such-command")[0] == 2
