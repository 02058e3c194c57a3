"""The user's entry: a loaded model that generates and edits images."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from underpaint import arguments, registry
from underpaint.assembly import Part, assemble
from underpaint.call import make_request
from underpaint.cancel import CancelToken
from underpaint.engine import Engine
from underpaint.fit import Fit
from underpaint.hook_times import HookTimer, HookTimes, Stage
from underpaint.images import OUTPUT_TYPES, OutputType
from underpaint.inverting import invert
from underpaint.loop import denoise
from underpaint.method import Method
from underpaint.planning import Plan
from underpaint.recipe import differences, read_recipe
from underpaint.recorder import CallbackOnStepEnd, StepCallback
from underpaint.request import Request
from underpaint.result import Result
from underpaint.run import Scorer
from underpaint.schedule import Spacing
from underpaint.trajectory import Trajectory
from underpaint.tuning import tune


@dataclass(frozen=True, eq=False)
class Pipeline:
    """A model on an engine. Immutable and safe to call from many threads.

    Attributes
    ----------
    engine : runs the UNet, the VAE and the text encoder.
    scorer : CLIP and ViT features for the methods that rank or guide with them; None takes those
        of the model's checkpoint, if it has any.
    max_rows : the largest UNet batch; None takes the engine's. A larger request is split into
        several runs, never inside an image and its branches.
    """

    engine: Engine
    scorer: Scorer | None = None
    max_rows: int | None = None

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path,
        engine: str = "pytorch",
        *,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        max_rows: int | None = None,
    ) -> Pipeline:
        """Load an installed model, a diffusers folder, or a hub name, on an engine.

        Raises
        ------
        UnknownNameError
            For a model or an engine that is not installed; the message lists what is.
        ModelLoadError
            For a checkpoint that is corrupt, unsafe or no Stable Diffusion.
        """
        name, source = registry.locate_model(model)
        load = registry.load("engines", engine)
        loaded = cast("Engine", load(source, name=name, dtype=dtype, device=device))
        return cls(loaded, max_rows=max_rows)

    def __call__(
        self,
        prompt: arguments.Texts,
        *,
        edits: Sequence[Method] = (),
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        negative_prompt: arguments.Texts = "",
        num_images_per_prompt: int = 1,
        seed: int | Sequence[int] | None = None,
        generator: arguments.Generators | None = None,
        latents: Tensor | None = None,
        height: int | None = None,
        width: int | None = None,
        eta: float = 0.0,
        timestep_spacing: Spacing | None = None,
        image: arguments.Pictures | None = None,
        fit: Fit = "crop",
        trajectory: Trajectory | None = None,
        follow: bool = True,
        refinements: int = 0,
        output_type: OutputType = "pil",
        record_attention: bool | None = None,
        attention_per_step: bool = False,
        callback_on_step_end: StepCallback | None = None,
        callback_on_inversion_step_end: StepCallback | None = None,
        callback_on_tuning_step_end: StepCallback | None = None,
        cancel: CancelToken | None = None,
        trace_hooks: HookTimes | None = None,
    ) -> Result:
        """Generate an image per prompt, with edits.

        Parameters
        ----------
        prompt : one text or several; several are several images in one call.
        edits : methods, in the order that values flow through them.
        num_inference_steps, guidance_scale : None takes the model's recommended values.
        negative_prompt : one for all, or one per prompt.
        num_images_per_prompt : further images of a prompt take the next seeds.
        seed : one for every prompt, or one per image; None draws one.
        generator : CPU generators in place of `seed`, one or one per image.
        latents : x_T ``[I, C, h, w]`` in place of the seeds' noise.
        height, width : in pixels; None takes the model's size.
        eta : 0 is DDIM, 1 is DDPM.
        timestep_spacing : leading, trailing or linspace; None takes the model's.
        image : the picture to edit, or one per prompt: files, Pillow images, arrays or tensors.
            It is inverted if an edit starts from it, with the prompt that the edit says it shows.
        fit : crop (the longer side) or letterbox (pad the shorter one), to the model's frame.
        trajectory : what `invert` returned for the picture, in place of inverting it now.
        follow : hold the picture's branch to its path (Direct Inversion, arXiv 2310.01506), so
            that it is reconstructed as well as the VAE can; without, it drifts as DDIM does.
        refinements : fixed-point iterations of each move of the inversion; see `invert`.
        output_type : pil, np, pt or latent.
        record_attention : keep the words' maps; None keeps them when an edit writes attention.
        attention_per_step : keep them for every step.
        callback_on_step_end : as in diffusers.
        callback_on_inversion_step_end : the same, while `image` is inverted.
        callback_on_tuning_step_end : the same, while an edit tunes embeddings along its path.
        cancel : stops the call from another thread, before its next step.
        trace_hooks : collects what each plugin's hooks take at each step.

        Raises
        ------
        InvalidRequestError, NonFiniteError
            For a value that cannot be used; the message names the valid choices.
        CancelledError
            If `cancel` was set.
        """
        started = time.perf_counter()
        arguments.check_choice("output_type", output_type, OUTPUT_TYPES)
        request = make_request(
            self.engine.info,
            prompt=prompt,
            edits=edits,
            negative_prompt=negative_prompt,
            num_images_per_prompt=num_images_per_prompt,
            seed=seed,
            generator=generator,
            latents=latents,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            height=height,
            width=width,
            eta=eta,
            timestep_spacing=timestep_spacing,
            attention_per_step=attention_per_step,
            image=image,
            fit=fit,
            trajectory=trajectory,
            follow=follow,
            refinements=refinements,
        )
        timer = None if trace_hooks is None else HookTimer(trace_hooks, "edit")
        plan = Plan.make(request, self.engine, record_attention, timer)
        inversion = plan.inversion()
        if inversion is not None:
            serve = self._before("inversion", callback_on_inversion_step_end, cancel, trace_hooks)
            plan = plan.along(invert(inversion, self.engine, serve))
        serve = self._before("tuning", callback_on_tuning_step_end, cancel, trace_hooks)
        plan = plan.tuned(*tune(plan.request, self.engine, serve))
        return self._serve(plan, started, output_type, callback_on_step_end, cancel)

    def invert(
        self,
        image: arguments.Pictures,
        prompt: arguments.Texts,
        *,
        edits: Sequence[Method] = (),
        num_inference_steps: int | None = None,
        guidance_scale: float = 1.0,
        refinements: int = 0,
        height: int | None = None,
        width: int | None = None,
        fit: Fit = "crop",
        timestep_spacing: Spacing | None = None,
        cache: bool = True,
        callback_on_step_end: StepCallback | None = None,
        cancel: CancelToken | None = None,
        trace_hooks: HookTimes | None = None,
    ) -> Trajectory:
        """Invert pictures to noise, along a path that edits start from (arXiv 2010.02502, 4.3).

        Parameters
        ----------
        image : one picture or several: files, Pillow images, arrays or tensors.
        prompt : what they show: one text for all, or one each.
        edits : methods that take part in the inversion.
        num_inference_steps, timestep_spacing : as of the edits to come.
        guidance_scale : 1 is DDIM's inversion; more makes it less faithful.
        refinements : fixed-point iterations of each move (arXiv 2309.04907), each as costly as the
            inversion itself; a later denoising without guidance then retraces it more closely.
        height, width, fit : as of the edits to come.
        cache : keep the path on disk, and take it from there the next time.
        callback_on_step_end, cancel, trace_hooks : as in a call.

        Raises
        ------
        InvalidRequestError, NonFiniteError
            For a value that cannot be used; the message names the valid choices.
        CancelledError
            If `cancel` was set.
        """
        pictures = arguments.check_pictures(image)
        texts = arguments.check_texts("prompt", prompt)
        request = make_request(
            self.engine.info,
            prompt=texts * len(pictures) if len(texts) == 1 else texts,
            edits=edits,
            seed=0,
            guidance_scale=guidance_scale,
            num_inference_steps=num_inference_steps,
            height=height,
            width=width,
            timestep_spacing=timestep_spacing,
            image=pictures,
            fit=fit,
            refinements=refinements,
        )
        serve = self._before("inversion", callback_on_step_end, cancel, trace_hooks)
        return invert(request, self.engine, serve, cache=cache)

    def replay(self, recipe: Mapping[str, Any], **changes: Any) -> Result:
        """Repeat the call that a ``result.recipe`` describes; `changes` override its arguments.

        On another engine or in another precision the picture differs in the last bits or more:
        ``result.warnings`` then says so.

        Raises
        ------
        InvalidRequestError
            If the recipe was made with another model, or cannot be reproduced from JSON.
        """
        result = self(**{**read_recipe(recipe, self.engine, changes.get("image")), **changes})
        return replace(result, warnings=(*differences(recipe, result.recipe), *result.warnings))

    def _before(
        self,
        stage: Stage,
        callback: StepCallback | None,
        cancel: CancelToken | None,
        times: HookTimes | None,
    ) -> Callable[[Request], Result]:
        """Return what runs a stage before the edit, to its latents."""

        def serve(request: Request) -> Result:
            timer = None if times is None else HookTimer(times, stage)
            plan = Plan.make(request, self.engine, record=False, timer=timer)
            return self._serve(plan, time.perf_counter(), "latent", callback, cancel)

        return serve

    def _serve(
        self,
        plan: Plan,
        started: float,
        output_type: OutputType,
        callback: StepCallback | None,
        cancel: CancelToken | None,
    ) -> Result:
        extra: list[tuple[str, object]] = []
        if callback is not None:
            extra = [("callback_on_step_end", CallbackOnStepEnd(self, callback))]
        parts = []
        for run in plan.runs(self.scorer, self.max_rows):
            hooks = plan.hooks_of_run(extra)
            end = denoise(run, hooks, cancel or CancelToken(), decode=output_type != "latent")
            parts.append(Part(run, end))
        return assemble(plan, parts, output_type, started)
