"""The plugins of one run: registration checks, and a typed way to call the hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from types import CodeType
from typing import Any, cast

import pluggy
from torch import Tensor

from underpaint import hookspecs
from underpaint.blame import annotate
from underpaint.core import Core
from underpaint.errors import ConflictError, PluginError, UnknownSiteError
from underpaint.guidance import Guidance, Observation
from underpaint.hook_times import ENERGY, HookTimer
from underpaint.method import PROJECT, Method
from underpaint.outputs import Outputs
from underpaint.packing import find_conflict
from underpaint.records import MAIN, AttentionEdit, Branch, Conditioning, Move, Needs, Prediction
from underpaint.registration import SPECIFICATIONS, check_plugin
from underpaint.request import Request
from underpaint.result import Result
from underpaint.run import Run
from underpaint.step import Step

CORE = "core"

FIRSTRESULT = tuple(
    name for name, spec in SPECIFICATIONS.items() if getattr(spec, f"{PROJECT}_spec")["firstresult"]
)

COLLECTED = ("needs", "branches", "attention_edits", "guidance")


class Hooks:
    """A fresh plugin manager with core and one instance of each edit, checked at registration."""

    def __init__(
        self,
        edits: Sequence[Method],
        extra: Sequence[tuple[str, object]] = (),
        timer: HookTimer | None = None,
    ) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._timer = timer
        if timer is not None:
            timer.watch(self._manager)
        self._register(CORE, Core(self))
        self._plugins = dict(chain(_start(edits), extra))
        self._codes: dict[CodeType, tuple[str, str]] = {}
        for name, plugin in self._plugins.items():
            self._codes |= check_plugin(name, plugin)
            self._register(name, plugin)
        self._hook = self._manager.hook
        # Most runs leave most hooks alone, and asking nobody takes its time at every step.
        self._used = frozenset(
            name for name in SPECIFICATIONS if getattr(self._hook, name).get_hookimpls()
        )
        for hook in FIRSTRESULT:
            self._check_one_replacement(hook)

    # The hooks, in call order.

    def needs(self, request: Request) -> dict[str, Needs]:
        """Return what each plugin needs that needs anything.

        Raises
        ------
        UnknownSiteError
            For a tap that no site of the model matches; the message names the plugin.
        """
        found = {
            name: needs
            for name in self._plugins
            for needs in self._alone("needs", name)(request=request)
        }
        for name, needs in found.items():
            for tap in needs.taps:
                try:
                    request.model.sites.select(tap.selector)
                except UnknownSiteError as error:
                    raise UnknownSiteError(f"{name!r} reads what is not there. {error}") from error
        return found

    def branches(self, request: Request) -> tuple[Branch, ...]:
        """Return the branches that plugins add.

        Raises
        ------
        ConflictError
            For two branches of one name; the message names their plugins.
        """
        found: dict[str, Branch] = {}
        owners = {MAIN: CORE}
        for plugin in self._plugins:
            for branch in chain.from_iterable(self._alone("branches", plugin)(request=request)):
                if branch.name in owners:
                    raise ConflictError(
                        f"{owners[branch.name]!r} and {plugin!r} both bring a branch named "
                        f"{branch.name!r}. Use one of them in a call."
                    )
                found[branch.name], owners[branch.name] = branch, plugin
        return tuple(found.values())

    def schedule(self, run: Run) -> tuple[Move, ...]:
        """Return the moves."""
        moves = self._hook.schedule(run=run)
        if not moves or not all(isinstance(move, Move) for move in moves):
            raise self._wrong("schedule", moves, "a tuple of at least one Move")
        return tuple(moves)

    def conditioning(self, run: Run) -> Conditioning:
        """Return the text embeddings."""
        return cast("Conditioning", self._hook.conditioning(run=run))

    def initial_latents(self, run: Run) -> Tensor:
        """Return x_T per trajectory."""
        shape = (run.layout.trajectories, *run.request.latent_shape)
        return self._tensor("initial_latents", self._hook.initial_latents(run=run), shape)

    def before_step(self, step: Step) -> None:
        """Tell all plugins that a step begins."""
        if "before_step" in self._used:
            self._hook.before_step(step=step)

    def attention_edits(self, step: Step) -> tuple[AttentionEdit, ...]:
        """Return all attention edits, after checking that no two write the same thing."""
        if "attention_edits" not in self._used:
            return ()
        values = _in_order(self._hook.attention_edits(step=step))
        edits = tuple(chain.from_iterable(values))
        if edits and not step.run.needs.edits:
            raise PluginError(
                f"{self._author(step, edits, 0)} edits attention without asking for it. Return "
                "Needs(edits=True) from needs(request), so that the engine's graph takes edits."
            )
        biased = next((i for i, edit in enumerate(edits) if edit.cross_bias), None)
        if biased is not None and not step.run.needs.cross_bias:
            raise PluginError(
                f"{self._author(step, edits, biased)} adds a bias to attention without asking for "
                "it. Return Needs(edits=True, cross_bias=True) from needs(request)."
            )
        if len(edits) > 1 and (conflict := find_conflict(edits)):
            first, second, thing = conflict
            raise ConflictError(
                f"{self._author(step, edits, first)} and {self._author(step, edits, second)} both "
                f"write {thing} at step {step.index}. Use one of them, or give them separate "
                "windows."
            )
        return edits

    def guidance(self, step: Step) -> tuple[Guidance, ...]:
        """Return all energies of a step; each names its plugin."""
        if "guidance" not in self._used:
            return ()
        asked = {name: self._alone("guidance", name)(step=step) for name in self._plugins}
        return tuple(
            replace(guidance, plugin=name, energy=self._energy(name, guidance))
            for name, values in asked.items()
            for guidance in chain.from_iterable(values)
        )

    def combine(self, step: Step, outputs: Outputs) -> Tensor:
        """Return epsilon per trajectory."""
        value = self._hook.combine(step=step, outputs=outputs)
        return self._tensor("combine", value, step.latents.shape)

    def predict(self, step: Step) -> Prediction:
        """Return what the model says about a step."""
        return cast("Prediction", self._hook.predict(step=step))

    def advance(self, step: Step, prediction: Prediction) -> Tensor:
        """Return the next latents."""
        value = self._hook.advance(step=step, prediction=prediction)
        return self._tensor("advance", value, step.latents.shape)

    def after_step(self, step: Step, latents: Tensor) -> None:
        """Tell all plugins how a step ended."""
        if "after_step" in self._used:
            self._hook.after_step(step=step, latents=latents)

    def decode(self, run: Run, latents: Tensor) -> Tensor:
        """Return images per trajectory."""
        images = self._hook.decode(run=run, latents=latents)
        size = images.shape[-2:] if isinstance(images, Tensor) else ("H", "W")
        return self._tensor("decode", images, (len(latents), 3, *size))

    def result(self, request: Request, result: Result) -> Result:
        """Return the result of the whole request."""
        return cast("Result", self._hook.result(request=request, result=result))

    # Who takes part.

    def roles(self, hook: str) -> dict[str, str]:
        """Return what each plugin does in a hook, in the order that values flow."""
        own = "adds" if hook in COLLECTED else "replaces" if hook in FIRSTRESULT else "observes"
        found = {
            impl.plugin_name: "wraps" if impl.wrapper or impl.hookwrapper else own
            for impl in getattr(self._hook, hook).get_hookimpls()
        }
        flow = {name: found[name] for name in self._plugins if name in found}
        return {CORE: "begins", **flow} if CORE in found else flow

    def editors(self, step: Step) -> tuple[str, ...]:
        """Return the plugins that edit attention at a step."""
        asked = {name: self._alone("attention_edits", name)(step=step) for name in self._plugins}
        return tuple(name for name, values in asked.items() if any(values))

    # When something is wrong.

    def annotate(self, error: BaseException, where: str) -> None:
        """Add a note to an error that a plugin raised: plugin, hook and step."""
        annotate(error, where, self._plugins, self._codes)

    def _energy(self, name: str, guidance: Guidance) -> Callable[[Observation], Tensor]:
        if self._timer is None:
            return guidance.energy
        return self._timer.plain(guidance.energy, name, ENERGY)

    def _register(self, name: str, plugin: object) -> None:
        timed = plugin if self._timer is None else self._timer.timed(name, plugin)
        self._manager.register(timed, name)

    def _tensor(self, hook: str, value: object, shape: Sequence[int | str]) -> Tensor:
        if not isinstance(value, Tensor) or tuple(value.shape) != tuple(shape):
            raise self._wrong(hook, value, f"a tensor of shape {tuple(shape)}")
        return value

    def _wrong(self, hook: str, value: object, expected: str) -> PluginError:
        got = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        names = [i.plugin_name for i in getattr(self._hook, hook).get_hookimpls()]
        return PluginError(
            f"{hook} returned {got}, expected {expected}. "
            f"It is implemented by {', '.join(repr(name) for name in names if name != CORE)}."
        )

    def _author(self, step: Step, edits: Sequence[AttentionEdit], index: int) -> str:
        """Return the plugin whose edit stands at `index`; asks again, one plugin at a time."""
        count = 0
        for name in self._plugins:
            alone = self._alone("attention_edits", name)
            count += sum(len(value) for value in alone(step=step))
            if index < count:
                return repr(name)
        raise PluginError(
            f"attention_edits gave {len(edits)} edits, then {count} when asked again."
        )

    def _alone(self, hook: str, name: str) -> pluggy.HookCaller:
        """Return a caller of a hook that asks one plugin."""
        others = [self._manager.get_plugin(other) for other in self._plugins if other != name]
        return self._manager.subset_hook_caller(hook, others)

    def _check_one_replacement(self, hook: str) -> None:
        implementations = getattr(self._hook, hook).get_hookimpls()
        replacing = [
            impl.plugin_name
            for impl in implementations
            if not (impl.wrapper or impl.hookwrapper) and impl.plugin_name != CORE
        ]
        if len(replacing) > 1:
            raise ConflictError(
                f"{' and '.join(map(repr, replacing))} both replace the hook {hook!r}; at most one "
                "plugin of a run may. Make one a wrapper (@hookimpl(wrapper=True)), or use one."
            )


def _start(edits: Sequence[Method]) -> Iterator[tuple[str, object]]:
    seen: dict[str, int] = {}
    for edit in edits:
        count = seen[edit.method] = seen.get(edit.method, 0) + 1
        yield edit.method if count == 1 else f"{edit.method}#{count}", edit.start()


def _in_order(values: list[Any]) -> list[Any]:
    """Return collected values in the order of registration; pluggy calls last in, first out."""
    return values[::-1]
