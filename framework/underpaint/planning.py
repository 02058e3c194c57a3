"""From a call to what is run: the request, its branches, and its split into runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from underpaint import arguments as check
from underpaint.engine import Engine, ModelInfo
from underpaint.errors import InvalidRequestError, NotOfferedError
from underpaint.hooks import Hooks
from underpaint.layout import Layout
from underpaint.method import Method
from underpaint.recorder import AttentionRecorder
from underpaint.records import MAIN, Branch, Needs
from underpaint.request import Request
from underpaint.run import Run, Scorer
from underpaint.schedule import SPACINGS, Spacing


def make_request(
    model: ModelInfo,
    *,
    prompt: check.Texts,
    edits: Sequence[Method],
    negative_prompt: check.Texts,
    num_images_per_prompt: int,
    seed: int | Sequence[int] | None,
    generator: check.Generators | None,
    latents: Tensor | None,
    num_inference_steps: int | None,
    guidance_scale: float | None,
    height: int | None,
    width: int | None,
    eta: float,
    timestep_spacing: Spacing | None,
    attention_per_step: bool,
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
    )
    return replace(request, latents=_given_latents(request, latents, generator))


def _given_latents(
    request: Request, latents: Tensor | None, generator: check.Generators | None
) -> Tensor | None:
    if latents is not None:
        return check.check_latents(latents, request.images, request.latent_shape)
    if generator is not None:
        return check.draw_latents(generator, request.images, request.latent_shape)
    return None


@dataclass(frozen=True, eq=False)
class Plan:
    """What the plugins of a request ask for, checked against the engine.

    Attributes
    ----------
    request : the whole call.
    hooks : the instances that were asked `needs` and `branches`, and will be asked `result`;
        each run has instances of its own.
    engine : the pipeline's, or the one that it falls back to.
    needs, branches : of all plugins; the main branch first.
    record : whether the words' attention maps are kept.
    warnings : what the user should know of the plan.
    """

    request: Request
    hooks: Hooks
    engine: Engine
    needs: Needs
    branches: tuple[Branch, ...]
    record: bool
    warnings: tuple[str, ...] = ()

    @classmethod
    def make(cls, request: Request, engine: Engine, record: bool | None) -> Plan:
        """Ask the plugins and check the answers; `record` None records if attention is edited."""
        hooks = Hooks(request.edits)
        try:
            needs = hooks.needs(request)
            branches = (Branch(MAIN, None), *hooks.branches(request))
        except Exception as error:
            hooks.annotate(error, "while the request was planned")
            raise
        keep = needs.edits if record is None else record
        if keep:
            needs |= AttentionRecorder(per_step=False).needs(request)
        _check_branches(branches)
        for tap in needs.taps:
            request.model.sites.select(tap.selector)
        size = (request.latent_shape[1], request.latent_shape[2])
        able, warnings = _able(engine, needs, size)
        return cls(request, hooks, able, needs, branches, keep, warnings)

    def layout(self, images: int) -> Layout:
        """Return the rows of some images with all their branches."""
        names = [branch.name for branch in self.branches]
        return Layout.of(images, names, [b.name for b in self.branches if self._guided(b)])

    def runs(self, scorer: Scorer | None, max_rows: int | None) -> Iterator[Run]:
        """Yield the runs, each as large as fits; a gang (an image's branches) is never split."""
        own = self.engine.max_rows
        limit = own if max_rows is None else min(max_rows, own)
        gang = len(self.layout(1).rows)
        if gang > limit:
            raise InvalidRequestError(
                f"One image with its branches {[b.name for b in self.branches]} takes {gang} UNet "
                f"rows, the limit is {limit}. Raise max_rows to {gang} or use fewer edits."
            )
        size = limit // gang
        for start in range(0, self.request.images, size):
            stop = min(start + size, self.request.images)
            part = self.request.part(start, stop)
            branches = tuple(branch.part(start, stop) for branch in self.branches)
            yield Run(part, self.engine, branches, self.layout(part.images), self.needs, scorer)

    def hooks_of_run(self, extra: Sequence[tuple[str, object]]) -> Hooks:
        """Return fresh instances for one run; `extra` plugins come last, outermost."""
        recorder = AttentionRecorder(self.request.attention_per_step)
        own: list[tuple[str, object]] = [("core.recorder", recorder)] if self.record else []
        return Hooks(self.request.edits, [*own, *extra])

    def _guided(self, branch: Branch) -> bool:
        scale = self.request.guidance_scale
        if branch.guidance_scale is not None:
            scale = branch.guidance_scale
        return scale > 1 and not branch.follow


def _able(engine: Engine, needs: Needs, size: tuple[int, int]) -> tuple[Engine, tuple[str, ...]]:
    """Return an engine that serves the needs, and a warning if it is not the one asked for."""
    try:
        engine.check(needs, size)
    except NotOfferedError as error:
        other = engine.fallback()
        if other is None:
            raise
        other.check(needs, size)
        return other, (f"{error} This call ran on the {other.name} engine instead.",)
    return engine, ()


def _check_branches(branches: Sequence[Branch]) -> None:
    names = [branch.name for branch in branches]
    for name in names:
        if names.count(name) > 1:
            raise InvalidRequestError(
                f"Two branches are named {name!r}. Two edits that each bring a {name!r} branch "
                "cannot be combined in one call."
            )
