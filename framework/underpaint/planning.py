"""From a call to what is run: the request, its branches, and its split into runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Any

from underpaint.engine import Engine
from underpaint.errors import InvalidRequestError, NotOfferedError
from underpaint.hook_times import HookTimer
from underpaint.hooks import Hooks
from underpaint.layout import Layout
from underpaint.recipe import make_recipe
from underpaint.recorder import AttentionRecorder
from underpaint.records import MAIN, Branch, Needs
from underpaint.request import Request
from underpaint.run import Run, Scorer
from underpaint.trajectory import Trajectory
from underpaint.tuning import tuning_edit


@dataclass(frozen=True, eq=False)
class Plan:
    """What the plugins of a request ask for, checked against the engine.

    Attributes
    ----------
    request : the whole call.
    hooks : the instances that were asked `needs` and `branches`, and will be asked `result`;
        each run has instances of its own.
    engine : the pipeline's, or the one that it falls back to.
    needs_of : what each plugin needs, and the recorder; `needs` is their union.
    branches : of all plugins; the main branch first.
    record : whether the words' attention maps are kept.
    recipe : JSON that describes the call.
    warnings : what the user should know of the plan.
    timer : times the hooks, or None.
    """

    request: Request
    hooks: Hooks
    engine: Engine
    needs_of: Mapping[str, Needs]
    needs: Needs
    branches: tuple[Branch, ...]
    record: bool
    recipe: dict[str, Any]
    warnings: tuple[str, ...] = ()
    timer: HookTimer | None = None

    @classmethod
    def make(
        cls,
        request: Request,
        engine: Engine,
        record: bool | None,
        timer: HookTimer | None = None,
    ) -> Plan:
        """Ask the plugins and check the answers; `record` None records if attention is edited."""
        hooks = Hooks(request.edits, timer=timer)
        tuning_edit(request.edits)  # two that tune are told before the picture is inverted
        try:
            needs_of = hooks.needs(request)
            branches = (Branch(MAIN, None), *hooks.branches(request))
        except Exception as error:
            hooks.annotate(error, "while the request was planned")
            raise
        keep = any(needs.edits for needs in needs_of.values()) if record is None else record
        if keep:
            needs_of["core.recorder"] = kept = AttentionRecorder(per_step=False).needs(request)
            for tap in kept.taps:  # the plugins' own were checked as they were asked
                request.model.sites.select(tap.selector)
        needs = reduce(or_, needs_of.values(), Needs())
        size = (request.latent_shape[1], request.latent_shape[2])
        able, warnings = _able(engine, needs, size)
        recipe = make_recipe(request, able)
        plan = cls(request, hooks, able, needs_of, needs, branches, keep, recipe, warnings, timer)
        plan.check_image()
        return plan if request.trajectory is None else plan.along(request.trajectory)

    def check_image(self) -> None:
        """Raise InvalidRequestError if there is a picture that no edit makes use of."""
        request = self.request
        if request.image is not None and not (self.needs.image or self._inverts):
            edits = ", ".join(edit.method for edit in request.edits) or "none"
            raise InvalidRequestError(
                f"image is given, but no edit of this call uses it (edits: {edits}). Leave it "
                "out, or add an edit that starts from a picture, such as prompt-to-prompt."
            )

    def inversion(self) -> Request | None:
        """Return the request that inverts the pictures, if that is still to be done."""
        request = self.request
        if request.image is None or request.trajectory is not None or not self._inverts:
            return None
        own, real = request.prompts, [branch.prompt for branch in self.branches if branch.real]
        shown = {own if prompt is None else (prompt,) * len(own) for prompt in real} or {own}
        if len(shown) > 1:
            said = sorted({prompt for prompts in shown for prompt in prompts})
            raise InvalidRequestError(
                f"The edits describe the same picture in different words: {said}. "
                "Give them the same source prompt."
            )
        return request.inversion(shown.pop())

    def along(self, trajectory: Trajectory) -> Plan:
        """Return the plan with the pictures inverted: real branches go along their path."""
        branches = tuple(
            replace(branch, trajectory=trajectory, follow=self.request.follow)
            if branch.real
            else branch
            for branch in self.branches
        )
        return replace(
            self,
            request=replace(self.request, trajectory=trajectory),
            branches=branches,
            warnings=(*self.warnings, *_other_prompts(branches, trajectory)),
        )

    def tuned(self, path: Trajectory | None, warnings: Sequence[str]) -> Plan:
        """Return the plan with what was tuned along its path, and what is to be said of that."""
        if path is None or path is self.request.trajectory:
            return self
        plan = self.along(path)
        return replace(plan, warnings=(*plan.warnings, *warnings))

    @property
    def _inverts(self) -> bool:
        return self.needs.inversion or any(branch.real for branch in self.branches)

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
        return Hooks(self.request.edits, [*own, *extra], self.timer)

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


def _other_prompts(branches: Sequence[Branch], trajectory: Trajectory) -> Iterator[str]:
    for branch in branches:
        if branch.real and branch.prompt and {branch.prompt} != set(trajectory.prompts):
            yield (
                f"The picture was inverted with {list(trajectory.prompts)}, and is edited as "
                f"{branch.prompt!r}. Use the same words for a closer reconstruction."
            )
