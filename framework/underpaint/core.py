"""The default implementation of every firstresult hook: plain Stable Diffusion with DDIM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from underpaint import schedule as ddim
from underpaint.gradient import descend
from underpaint.layout import HALVES
from underpaint.method import hookimpl
from underpaint.outputs import Outputs
from underpaint.records import Conditioning, Move, Prediction
from underpaint.request import Request
from underpaint.result import Result
from underpaint.run import Run, seed_noise
from underpaint.soundness import check_fields
from underpaint.step import Step

if TYPE_CHECKING:
    from underpaint.hooks import Hooks


class Core:
    """The plugin that is registered first; every edit wraps it."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks

    @hookimpl(trylast=True)
    def schedule(self, run: Run) -> tuple[Move, ...]:
        """All denoising moves of the request."""
        request = run.request
        return request.model.noise.moves(
            request.num_inference_steps, request.timestep_spacing, request.eta
        )

    @hookimpl(trylast=True)
    def conditioning(self, run: Run) -> Conditioning:
        """Encode each different prompt once."""
        wanted = {}
        for branch in run.layout.branches:
            for half in HALVES:
                if run.layout.rows_of(branch, half):
                    texts = run.prompts if half == "cond" else run.negative_prompts
                    wanted[branch, half] = texts(branch)
        distinct = list(dict.fromkeys(text for texts in wanted.values() for text in texts))
        encoded = run.encode(distinct)  # [B, L, d]
        place = {text: i for i, text in enumerate(distinct)}
        return Conditioning(
            {pair: encoded[[place[text] for text in texts]] for pair, texts in wanted.items()}
        )

    @hookimpl(trylast=True)
    def initial_latents(self, run: Run) -> Tensor:
        """One x_T per image, shared by its branches; a trajectory's own start."""
        noise = _first_latents(run)  # [I, C, h, w]
        latents = noise.to(run.engine.device).repeat_interleave(len(run.branches), 0)  # [T, ...]
        for branch in run.branches:
            if branch.trajectory is not None:
                start = branch.trajectory.at(run.moves[0].t).to(latents)
                latents[run.layout.trajectories_of(branch.name)] = start
        return latents

    @hookimpl(trylast=True)
    def combine(self, step: Step, outputs: Outputs) -> Tensor:
        """Classifier-free guidance (arXiv 2207.12598, eq. 6): ``e_u + w (e_c - e_u)``."""
        noise = []
        for branch in step.layout.branches:
            cond = outputs.of(branch, "cond")
            if outputs.layout.rows_of(branch, "uncond"):
                uncond = outputs.of(branch, "uncond")
                cond = uncond + step.run.guidance_scale(branch) * (cond - uncond)
            noise.append(cond)
        return torch.stack(noise, 1).flatten(0, 1)  # [I, B, ...] -> [T, ...]

    @hookimpl(trylast=True)
    def predict(self, step: Step) -> Prediction:
        """Evaluate, combine, guide (arXiv 2306.00986, eq. 3; arXiv 2302.03027, alg. 1)."""
        guidances = self.hooks.guidance(step)
        for guidance in guidances:
            check_fields(step, guidance)
        moving = [g for g in guidances if g.into == "latents"]
        if moving:
            _, gradient = descend(step, moving)
            step = step.at(step.latents - gradient)
        steering = [g for g in guidances if g.into == "noise"]
        if not steering:
            return self._prediction(step, step.evaluate())
        outputs, gradient = descend(step, steering)
        prediction = self._prediction(step, outputs)
        return prediction.with_noise(prediction.noise + steering[0].factor(step.alpha) * gradient)

    @hookimpl(trylast=True)
    def advance(self, step: Step, prediction: Prediction) -> Tensor:
        """One DDIM move (arXiv 2010.02502, eq. 12), then followed branches onto their pivots."""
        std = ddim.sigma(step.alpha, step.next_alpha, step.move.eta)
        fresh = fresh_noise(step, "advance") if std else None
        latents = ddim.ddim_step(prediction.x0, prediction.noise, step.next_alpha, std, fresh)
        return follow(step, latents)

    @hookimpl(trylast=True)
    def decode(self, run: Run, latents: Tensor) -> Tensor:
        """Decode every trajectory with the VAE."""
        return run.decode(latents).clamp(0, 1)

    @hookimpl(trylast=True)
    def result(self, request: Request, result: Result) -> Result:  # noqa: ARG002
        """Return the result as it is."""
        return result

    def _prediction(self, step: Step, outputs: Outputs) -> Prediction:
        noise = step.combine(outputs)
        return Prediction(
            sample=outputs.sample,
            alpha=step.alpha,
            noise=noise,
            x0=ddim.x0_from_noise(outputs.sample, noise, step.alpha),
            outputs=outputs,
        )


def _first_latents(run: Run) -> Tensor:
    """Return the start of the picture's path, the call's latents, or the seeds' noise."""
    request = run.request
    if request.trajectory is not None:
        start = request.trajectory.at(run.moves[0].t)
        return start.expand(request.images, *request.latent_shape)
    if request.latents is not None:
        return request.latents
    return torch.stack([seed_noise(seed, request.latent_shape) for seed in request.seeds])


def fresh_noise(step: Step, key: str) -> Tensor:
    """Return the fresh noise of a step, ``[T, C, h, w]``; branches of an image share it."""
    return step.run.randn(key, step.index).repeat_interleave(len(step.layout.branches), 0)


def follow(step: Step, latents: Tensor) -> Tensor:
    """Put every following branch on its pivot (Direct Inversion, arXiv 2310.01506)."""
    for branch in step.run.branches:
        if branch.follow and branch.trajectory is not None:
            latents = latents.clone()
            pivot = branch.trajectory.at(step.move.next_t).to(latents)
            latents[step.layout.trajectories_of(branch.name)] = pivot
    return latents


def renoise(step: Step) -> Tensor:
    """Carry all latents back to the move's noisier level with fresh noise."""
    fresh = fresh_noise(step, "renoise")
    latents = ddim.renoise(step.latents, fresh, step.alpha, step.next_alpha)
    return follow(step, latents)
