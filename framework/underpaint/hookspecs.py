"""The hooks of one run, in call order. This file is their reference.

A plugin implements any of them on the object that its ``Method.start`` returns::

    class MyRun:
        @underpaint.hookimpl(wrapper=True)
        def advance(self, step, prediction):
            latents = yield  # core's value, or the previous edit's
            return latents  # what the next edit, and the loop, sees

**Collected** hooks are asked of every plugin and their values are handed on in the order of
``edits``. **Firstresult** hooks have a default in core; a plugin *wraps* it as above, or *replaces*
it with an implementation without ``wrapper=True`` - at most one plugin a run may replace the same
hook, and `predict` can only be wrapped. **Observers** return nothing. For ``edits=[a, b]`` values
flow core -> a -> b. An implementation may leave out arguments it does not use.

`needs`, `branches` and `result` are asked of one object per call; every run (a large call becomes
several) has an object of its own for the other hooks. What a run hands on to `result` goes through
``run.report``.

`VERSION` is the version of this file: its minor number grows when a hook or an argument is added or
deprecated, its major number when one goes. What is to go is deprecated first, with
``@hookspec(warn_on_impl_args=deprecated_arguments(...))``, and still served.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from underpaint.method import hookspec

if TYPE_CHECKING:
    from torch import Tensor

    from underpaint.guidance import Guidance
    from underpaint.outputs import Outputs
    from underpaint.records import AttentionEdit, Branch, Conditioning, Move, Needs, Prediction
    from underpaint.request import Request
    from underpaint.result import Result
    from underpaint.run import Run
    from underpaint.step import Step

VERSION = "1.0"


@hookspec
def needs(request: Request) -> Needs | None:
    """Say what the method needs of the engine: taps, edits, gradients. Collected.

    Called once per request, before anything runs; the union picks the engine's graph. A tap that
    no site of the model matches is an error here, never a silent no-op.
    """


@hookspec
def branches(request: Request) -> Sequence[Branch] | None:
    """Add latent trajectories that run in lockstep with the request's own. Collected.

    Called once per request. An image and its branches are a gang: one batch, one fate.
    """


@hookspec(firstresult=True)
def schedule(run: Run) -> tuple[Move, ...]:
    """Return the moves of the run. Core: `num_inference_steps` denoising moves.

    Start strength, inversion, repeated steps and a per-step eta are edits of this tuple.
    """


@hookspec(firstresult=True)
def conditioning(run: Run) -> Conditioning:
    """Return the text embeddings per branch and half, optionally per step.

    Core: each branch's prompt and negative prompt, encoded once.
    """


@hookspec(firstresult=True)
def initial_latents(run: Run) -> Tensor:
    """Return x_T per trajectory, ``[T, C, h, w]`` fp32.

    Core: each image's seed, shared by its branches; a branch with a trajectory starts on it.
    """


@hookspec
def before_step(step: Step) -> None:
    """Observe a step before anything of it is computed. Observer."""


@hookspec
def attention_edits(step: Step) -> Sequence[AttentionEdit] | None:
    """Return this step's attention edits. Collected.

    Two plugins that write the same thing of the same rows are an error that names both. Where
    several plugins implement this hook, they are asked for all steps once before the first one, so
    that the error comes before the work: what is returned follows from the step's place in the
    schedule and from what was found before (`conditioning`), and asking again changes nothing.
    """


@hookspec
def guidance(step: Step) -> Sequence[Guidance] | None:
    """Return the energies to go down at this step. Collected.

    Asked of one plugin at a time, so that an error names its own. An energy maps an `Observation`
    (maps, features, noise, x0, sample) to one scalar per image. It moves the latents of
    ``Guidance.branches`` alone, through the UNet's rows of ``Guidance.halves``; the other rows, and
    steps without guidance, are evaluated without a gradient. One pullback for all energies of one
    destination that move the same branches. An energy or a gradient that is no number, or would
    change the step by more than ten times what is there, is an error.
    """


@hookspec(firstresult=True)
def combine(step: Step, outputs: Outputs) -> Tensor:
    """Return epsilon per trajectory, ``[T, C, h, w]``, from the rows of one evaluation.

    Core: classifier-free guidance, ``e_u + w (e_c - e_u)``. It must stay differentiable.
    """


@hookspec(firstresult=True)
def predict(step: Step) -> Prediction:
    """Return what the model says about this step. Core: evaluate, combine, guidance.

    Wrap it, never replace it. ``step.evaluate`` inside runs the UNet again.
    """


@hookspec(firstresult=True)
def advance(step: Step, prediction: Prediction) -> Tensor:
    """Return the next latents ``[T, C, h, w]``.

    Core: the DDIM move from `prediction`'s x0 and noise, as they stand.
    Branches that follow a trajectory are put on their pivot before any wrapper sees the value.
    """


@hookspec
def after_step(step: Step, latents: Tensor) -> None:
    """Observe the latents that a step ended with. Observer."""


@hookspec(firstresult=True)
def decode(run: Run, latents: Tensor) -> Tensor:
    """Return images ``[T, 3, H, W]`` in [0, 1] from the final latents ``[T, C, h, w]``.

    Core: the VAE's decoder. Not called for ``output_type="latent"``.
    """


@hookspec(firstresult=True)
def result(request: Request, result: Result) -> Result:
    """Return the result of the whole request, once, with all images. Core: as it is.

    Wrap it to rank or score.
    """
