"""An installed package with methods and a command."""

import sys
from typing import ClassVar, Literal

import torch
from cyclopts import App
from pydantic import BaseModel, ConfigDict, Field
from underpaint import AttentionEdit, Branch, Method, Needs, UnderpaintError, hookimpl
from underpaint.errors import UnknownWordError
from underpaint.result import REGION


class Window(BaseModel):
    """A part of the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: float = Field(0.0, ge=0, le=1, description="Where it begins.")
    end: float = Field(0.8, ge=0, le=1, description="Where it ends.")


class FakeSwap(Method):
    """Keep the layout of another prompt's picture.

    A short stand-in for Prompt-to-Prompt.
    """

    method: ClassVar[str] = "fake-swap"

    source: str = Field(description="The prompt of the picture whose layout is kept.")
    reweight: dict[str, float] = Field({}, description="How much a word counts.")
    span: float | tuple[float, float] | dict[str, float] = Field(1.0, description="How long.")
    mode: Literal["soft", "hard"] = Field("soft", description="How strictly to keep it.")
    window: Window | None = Field(None, description="When to keep it.")
    steps: int = Field(3, description="A name that a common flag takes.")
    fail: str = Field("", description="How to fail.")

    def start(self):
        return _Swap(self)


class _Swap:
    def __init__(self, parameters):
        self.parameters = parameters

    @hookimpl
    def needs(self, request):
        print("a plugin that prints")
        return Needs(edits=True)

    @hookimpl
    def branches(self, request):
        return [Branch("source", self.parameters.source, real=True)]

    @hookimpl
    def attention_edits(self, step):
        sites = step.run.request.model.sites.of_kind("self")
        for tokens in step.run.tokens(step.run.prompts("main")):
            for word in self.parameters.reweight:
                tokens.find(word)
        names = frozenset(site.name for site in sites)
        return [AttentionEdit("main", "source", self_q=names, self_k=names)]

    @hookimpl
    def after_step(self, step, latents):
        if step.index == 1:
            self._fail()
        step.run.report("fake.mean", [0.5] * step.layout.images)
        step.run.report("fake.latents", [latents] * step.layout.images)
        step.run.warn("a warning")

    def _fail(self):
        match self.parameters.fail:
            case "on purpose":
                raise UnderpaintError("failed on purpose")
            case "word":
                raise UnknownWordError("no such word")
            case "interrupt":
                raise KeyboardInterrupt
            case "bug":
                raise ZeroDivisionError("a bug")


class FakeScale(Method):
    """Scale the noise, without a source."""

    method: ClassVar[str] = "fake-scale"

    factor: float = Field(0.9, gt=0, description="Of the noise.")

    def start(self):
        return _Scale(self.factor)


class _Scale:
    def __init__(self, factor):
        self.factor = factor

    @hookimpl(wrapper=True)
    def initial_latents(self, run):
        latents = yield
        return latents * self.factor


class FakePaint(Method):
    """Paint into the upper half of a picture, without inverting it."""

    method: ClassVar[str] = "fake-paint"

    report: bool = Field(True, description="Whether it says where.")

    def start(self):
        return _Paint(self.report)


class _Paint:
    def __init__(self, report):
        self.report = report

    @hookimpl
    def needs(self):
        return Needs(image=True)

    @hookimpl(wrapper=True)
    def decode(self, run):
        images = yield
        region = torch.zeros_like(run.request.image.pixels[:1, :1])
        region[..., : region.shape[2] // 2, :] = 1
        if self.report:
            run.report(REGION, list(region.expand(run.request.images, -1, -1, -1)))
        return torch.where(region > 0, images, run.request.image.pixels)


train = App(name="fake-train", help="Train something.")


@train.default
def _train(*, steps: int = 3) -> int:
    sys.stdout.write(f"trained {steps}\n")
    return 0
