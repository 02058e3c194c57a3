"""From the arguments of a call to its checked request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from underpaint import arguments as check
from underpaint.engine import ModelInfo
from underpaint.errors import InvalidRequestError
from underpaint.fit import FITS, Fit
from underpaint.method import Method
from underpaint.preparation import PreparedImages, prepare_images
from underpaint.request import Request
from underpaint.schedule import SPACINGS, Spacing
from underpaint.trajectory import Trajectory


def make_request(
    model: ModelInfo,
    *,
    prompt: check.Texts,
    edits: Sequence[Method] = (),
    negative_prompt: check.Texts = "",
    num_images_per_prompt: int = 1,
    seed: int | Sequence[int] | None = None,
    generator: check.Generators | None = None,
    latents: Tensor | None = None,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    height: int | None = None,
    width: int | None = None,
    eta: float = 0.0,
    timestep_spacing: Spacing | None = None,
    attention_per_step: bool = False,
    image: check.Pictures | None = None,
    fit: Fit = "crop",
    trajectory: Trajectory | None = None,
    follow: bool = True,
    refinements: int = 0,
) -> Request:
    """Return the checked request of one call, one entry per image."""
    prompts = check.check_texts("prompt", prompt)
    negatives = check.check_texts("negative_prompt", negative_prompt, allow_empty=True)
    copies = check.check_count("num_images_per_prompt", num_images_per_prompt, 1, 1000)
    steps = model.num_inference_steps if num_inference_steps is None else num_inference_steps
    scale = model.guidance_scale if guidance_scale is None else guidance_scale
    if timestep_spacing is not None:
        check.check_choice("timestep_spacing", timestep_spacing, SPACINGS)
    rows, columns = model.latent_size
    request = Request(
        model=model,
        prompts=check.spread("prompt", prompts, len(prompts), copies),
        negative_prompts=check.spread("negative_prompt", negatives, len(prompts), copies),
        seeds=check.seeds_of(seed, generator, len(prompts), copies),
        edits=check.check_edits(edits),
        height=check.check_size("height", height, rows, model),
        width=check.check_size("width", width, columns, model),
        num_inference_steps=check.check_count("num_inference_steps", steps, 1, model.noise.levels),
        guidance_scale=check.check_number("guidance_scale", scale, 0, float("inf"), 7.5),
        eta=check.check_number("eta", eta, 0, 1, 0),
        timestep_spacing=timestep_spacing,
        attention_per_step=attention_per_step,
        follow=follow,
        refinements=check.check_count("refinements", refinements, 0, 100),
    )
    check.check_choice("fit", fit, FITS)
    if trajectory is not None and latents is not None:
        raise InvalidRequestError("Give latents or trajectory, not both: each says where to start.")
    return replace(
        request,
        latents=_given_latents(request, latents, generator),
        image=None if image is None else _prepared(request, image, len(prompts), copies, fit),
        trajectory=None
        if trajectory is None
        else check.check_trajectory(trajectory, request.images),
    )


def _given_latents(
    request: Request, latents: Tensor | None, generator: check.Generators | None
) -> Tensor | None:
    if latents is not None:
        return check.check_latents(latents, request.images, request.latent_shape)
    if generator is not None:
        return check.draw_latents(generator, request.images, request.latent_shape)
    return None


def _prepared(
    request: Request, image: check.Pictures, prompts: int, copies: int, fit: Fit
) -> PreparedImages:
    pictures = check.spread_pictures(check.check_pictures(image), prompts, copies)
    return prepare_images(pictures, (request.width, request.height), fit)
