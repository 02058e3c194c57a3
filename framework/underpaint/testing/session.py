"""A pipeline with a fixed call, and a spy that keeps what every step saw."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from underpaint.arguments import Texts
from underpaint.method import Method, hookimpl
from underpaint.pipeline import Pipeline
from underpaint.records import Prediction
from underpaint.result import Result
from underpaint.step import Step
from underpaint.testing.toy import ToyEngine

PROMPT = "a dog on green grass"


def toy_pipeline(**engine: Any) -> Pipeline:
    """Return a pipeline on a fresh `ToyEngine`; arguments go to the engine."""
    return Pipeline(ToyEngine(**engine))


@dataclass
class Trace:
    """What one call did, step by step, as it looks after all its edits.

    Attributes
    ----------
    steps : every step, with its latents and attention edits.
    predictions : what `predict` returned, one per step that asked the model.
    latents : what each step ended with, ``[T, C, h, w]``.
    result : of the call.
    """

    steps: list[Step] = field(default_factory=list)
    predictions: list[Prediction] = field(default_factory=list)
    latents: list[Tensor] = field(default_factory=list)
    result: Result = field(init=False)


class _SpyRun:
    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    @hookimpl
    def before_step(self, step: Step) -> None:
        self.trace.steps.append(step)

    @hookimpl(wrapper=True)
    def predict(self, step: Step) -> Generator[None, Prediction, Prediction]:
        prediction = yield
        self.trace.steps[-1] = step
        self.trace.predictions.append(prediction)
        return prediction

    @hookimpl
    def after_step(self, latents: Tensor) -> None:
        self.trace.latents.append(latents)


class Spy(Method):
    """An edit that changes nothing and writes what it sees into `trace`."""

    method: ClassVar[str] = "testing.spy"

    trace: Trace

    def start(self) -> object:
        """Return a plugin that writes into the trace."""
        return _SpyRun(self.trace)

    def describe(self) -> dict[str, Any]:
        """Return the name alone: a trace is no parameter."""
        return {"method": self.method}


@dataclass(frozen=True)
class EditSession:
    """A pipeline and the short call that tests make with it.

    Attributes
    ----------
    pipeline : a toy pipeline unless the test needs another.
    prompt : of every call that names none.
    call : further arguments of every call.
    """

    pipeline: Pipeline = field(default_factory=toy_pipeline)
    prompt: str = PROMPT
    call: dict[str, Any] = field(
        default_factory=lambda: {"seed": 7, "num_inference_steps": 4, "output_type": "pt"}
    )

    def __call__(self, *edits: Method, prompt: Texts | None = None, **call: Any) -> Result:
        """Run the edits; `call` overrides the session's arguments."""
        return self.pipeline(prompt or self.prompt, edits=edits, **{**self.call, **call})

    def trace(self, *edits: Method, prompt: Texts | None = None, **call: Any) -> Trace:
        """Run the edits and return what each step saw, and the result."""
        trace = Trace()
        trace.result = self(*edits, Spy.model_construct(trace=trace), prompt=prompt, **call)
        return trace
