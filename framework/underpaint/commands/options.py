"""The flags that commands share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter

from underpaint.fit import Fit
from underpaint.precision import Dtype, torch_dtype

if TYPE_CHECKING:
    from underpaint.hook_times import HookTimes
    from underpaint.pipeline import Pipeline

METHOD, PICTURE, SAMPLING, MODEL, OUTPUT = map(
    Group.create_ordered, ("Method", "Picture", "Sampling", "Model", "Output")
)


@Parameter(name="*", group=PICTURE, negative=())
@dataclass(frozen=True, kw_only=True)
class Picture:
    """The picture to edit, if it is not to be generated."""

    image: Annotated[
        list[Path] | None, Parameter(help="A picture to edit; repeat it for one per prompt.")
    ] = None
    trajectory: Annotated[
        Path | None, Parameter(help="What `underpaint invert` wrote, in place of inverting now.")
    ] = None
    fit: Annotated[
        Fit, Parameter(help="Cut the longer side, or pad the shorter one, to the model's frame.")
    ] = "crop"
    follow: Annotated[
        bool,
        Parameter(
            negative="--no-follow",
            help="Hold the picture's own branch to the path it was inverted along.",
        ),
    ] = True
    refinements: Annotated[
        int, Parameter(help="Fixed-point iterations of each step of the inversion.")
    ] = 0

    def call(self) -> dict[str, Any]:
        """Return the arguments of the pipeline's call.

        Raises
        ------
        TrajectoryMismatchError
            If the trajectory's file cannot be read.
        """
        if self.trajectory is None:
            return {
                "image": self.image,
                "fit": self.fit,
                "follow": self.follow,
                "refinements": self.refinements,
            }
        from underpaint.trajectory import Trajectory

        path = Trajectory.load(self.trajectory)
        return {"image": self.image, "fit": self.fit, "trajectory": path, "follow": self.follow}


@Parameter(name="*", group=SAMPLING, negative=())
@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to sample; what is left out takes the model's recommended value."""

    seed: Annotated[
        list[int] | None,
        Parameter(help="Of the noise; repeat it for an image each. Drawn if left out."),
    ] = None
    steps: Annotated[int | None, Parameter(help="Denoising steps.")] = None
    guidance_scale: Annotated[float | None, Parameter(help="Weight of the prompt.")] = None
    negative_prompt: Annotated[
        str, Parameter(help="What the image should not show.", show_default=False)
    ] = ""
    num_images: Annotated[
        int | None, Parameter(help="Images of each prompt, with seeds that follow one another.")
    ] = None
    height: Annotated[int | None, Parameter(help="In pixels.")] = None
    width: Annotated[int | None, Parameter(help="In pixels.")] = None
    eta: Annotated[float, Parameter(help="0 is DDIM, 1 is DDPM.")] = 0.0

    def call(self, prompts: list[str]) -> dict[str, Any]:
        """Return the arguments of the pipeline's call."""
        seeds = self.seed or []
        several = len(seeds) if len(prompts) == 1 else 1
        return {
            "prompt": prompts,
            "seed": seeds if len(seeds) > 1 else next(iter(seeds), None),
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance_scale,
            "negative_prompt": self.negative_prompt,
            "num_images_per_prompt": max(several, 1)
            if self.num_images is None
            else self.num_images,
            "height": self.height,
            "width": self.width,
            "eta": self.eta,
        }


@Parameter(name="*", group=MODEL, negative=())
@dataclass(frozen=True, kw_only=True)
class Loading:
    """Which model on which engine."""

    model: Annotated[
        str, Parameter(help="An installed model, a folder in the diffusers format, or a hub name.")
    ] = "picturebook"
    engine: Annotated[str, Parameter(help="What runs the model.")] = "pytorch"
    dtype: Annotated[Dtype, Parameter(help="The precision to compute in.")] = "fp32"
    device: Annotated[str, Parameter(help="Where to compute, e.g. cpu or cuda:0.")] = "cpu"

    def load(self) -> Pipeline:
        """Load the model.

        Raises
        ------
        UnderpaintError
            If it is not installed or cannot be loaded.
        """
        import torch

        from underpaint.errors import InvalidRequestError
        from underpaint.pipeline import Pipeline

        try:
            device = torch.device(self.device)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise InvalidRequestError(
                f"--device {self.device}: {reason} Give e.g. cpu or cuda:0."
            ) from error
        return Pipeline.from_pretrained(
            self.model, self.engine, dtype=torch_dtype(self.dtype), device=device
        )

    @property
    def source(self) -> str:
        """The model as it can be found again from another folder."""
        path = Path(self.model).expanduser()
        return str(path.resolve()) if path.is_dir() else self.model


@Parameter(name="*", group=OUTPUT, negative=(), show_default=False)
@dataclass(frozen=True, kw_only=True)
class Talk:
    """How to report."""

    json: Annotated[bool, Parameter(help="Print JSON on stdout, and nothing else.")] = False
    quiet: Annotated[bool, Parameter(name=("--quiet", "-q"), help="No progress.")] = False


@Parameter(name="*", group=OUTPUT, negative=(), show_default=False)
@dataclass(frozen=True, kw_only=True)
class RunTalk(Talk):
    """How to report a run of the pipeline."""

    trace_hooks: Annotated[
        bool, Parameter(help="Show what each plugin's hooks take; in JSON also step by step.")
    ] = False

    def times(self) -> HookTimes | None:
        """Return what a call is to collect its hooks' times in, if that is asked for."""
        from underpaint.hook_times import HookTimes

        return HookTimes() if self.trace_hooks else None


JsonFlag = Annotated[
    bool,
    Parameter(
        group=OUTPUT, negative=(), show_default=False, help="Print JSON on stdout, nothing else."
    ),
]

OutputFile = Annotated[
    Path,
    Parameter(
        name=("--output", "-o"), group=OUTPUT, help="The picture to write; .png keeps the recipe."
    ),
]

OutputFolder = Annotated[
    Path, Parameter(name=("--output", "-o"), group=OUTPUT, help="The folder to write into.")
]

COMMON_FLAGS = frozenset(
    field.name for options in (Picture, Sampling, Loading, RunTalk) for field in fields(options)
) | {"prompt", "output", "sheet", "also", "picture", "sampling", "loading", "talk"}
"""Names that a method's parameters cannot take on the command line: flags, and groups of them."""
