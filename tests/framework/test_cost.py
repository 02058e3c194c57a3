"""A call that edits nothing pays nothing."""

import subprocess
import sys

from underpaint import hookimpl
from underpaint.testing import EditSession, ToyEngine


def run_python(code):
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_underpaint_is_cheap():
    heavy = "{'torch', 'pluggy', 'pydantic', 'numpy', 'PIL', 'diffusers', 'transformers'}"
    assert run_python(f"import sys, underpaint; print(*{heavy} & set(sys.modules))") == []


def test_a_call_without_edits_imports_no_plugin_and_no_engine():
    code = """
import sys
from importlib.metadata import entry_points
from underpaint.testing import toy_pipeline
toy_pipeline()("a dog", num_inference_steps=1)
plugins = {point.module.split(".")[0] for point in entry_points(group="underpaint.methods")}
others = {"underpaint_engines", "underpaint_export", "diffusers", "transformers", "pytest"}
print(*(plugins | others) & set(sys.modules))
"""
    assert run_python(code) == []


def test_a_call_without_edits_reads_and_writes_nothing():
    calls = []

    class Engine(ToyEngine):
        def predict(self, call):
            calls.append(call)
            return super().predict(call)

        def linearize(self, call, wrt):
            raise AssertionError("a call without guidance needs no gradient")

    EditSession(type(EditSession().pipeline)(Engine()))(num_inference_steps=4)
    assert len(calls) == 4
    for call in calls:
        assert call.edits is None
        assert call.hidden_delta is None
        assert not call.maps
        assert not call.features


def test_prompts_are_encoded_once_a_call():
    batches = []

    class Engine(ToyEngine):
        def encode_text(self, tokens):
            batches.append([t.text for t in tokens])
            return super().encode_text(tokens)

    EditSession(type(EditSession().pipeline)(Engine()))(prompt=["a dog", "a cat", "a dog"])
    assert batches == [["", "a dog", "a cat"]]


def test_hooks_are_called_a_fixed_number_of_times_a_step(edit_session, make_method):
    counts = {}

    def counting(hook):
        def implementation(self):
            counts[hook] = counts.get(hook, 0) + 1
            return (yield)

        return hookimpl(wrapper=True)(implementation)

    once = ("schedule", "conditioning", "initial_latents", "decode", "result")
    each = ("combine", "predict", "advance")
    plugin = type("Counts", (), {hook: counting(hook) for hook in once + each})
    edit_session(make_method(plugin), num_inference_steps=7)
    assert counts == {**dict.fromkeys(once, 1), **dict.fromkeys(each, 7)}
