"""The loop that every trainer shares: schedule, clipping, averaging, log and checkpoints."""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from rich.console import Console
from torch import Tensor, nn

from underpaint_picturebook.train import parallel, state
from underpaint_picturebook.train.muon import Muon

_console = Console(stderr=True, width=140)


class Trainer(Protocol):
    """What one trainer brings to the loop."""

    modules: nn.Module
    """Everything that is trained."""

    def losses(self, generator: torch.Generator) -> Mapping[str, Tensor]:
        """Draw a batch and return scalars; the one named "loss" is minimised."""
        ...

    def sheet(self, average: nn.Module, file: Path) -> None:
        """Save a picture of what the averaged weights can do."""
        ...


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    The learning rate warms up, stays at `peak` until `hold` of the budget is spent and falls
    linearly to a hundredth. The budget is `steps` if given, else `minutes`.
    """

    minutes: float = 10.0
    steps: int | None = None
    peak: float = 1e-3
    warmup: int = 200
    hold: float = 0.4
    weight_decay: float = 1e-4
    average: float = 0.999
    save_seconds: float = 240.0
    sheet_every: int = 1000
    log_every: int = 50

    def spent(self, progress: state.Progress) -> float:
        """Return the fraction of the budget that is used up."""
        if self.steps is not None:
            return (progress.step - progress.segment_start) / self.steps
        return progress.elapsed / (60.0 * self.minutes)

    def rate(self, progress: state.Progress) -> float:
        """Return the learning rate for the next step."""
        warm = min(1.0, (progress.step - progress.segment_start + 1) / max(1, self.warmup))
        left = (1.0 - self.spent(progress)) / (1.0 - self.hold)
        return self.peak * warm * max(0.01, min(1.0, left))


class _Log:
    """Running means of the losses, a line every so often to stderr and to log.txt."""

    def __init__(self, file: Path, plan: Plan) -> None:
        self._file, self._plan = file, plan
        self._means: dict[str, float] = {}
        self._count, self._began = 0, time.monotonic()

    def add(self, losses: Mapping[str, Tensor], progress: state.Progress) -> None:
        self._count += 1
        for name, value in losses.items():
            figure = float(value.detach())
            self._means[name] = 0.98 * self._means.get(name, figure) + 0.02 * figure
        if progress.step % self._plan.log_every == 0:
            self._write(progress)

    def _write(self, progress: state.Progress) -> None:
        speed = self._count / (time.monotonic() - self._began)
        figures = "  ".join(f"{name} {value:.4f}" for name, value in self._means.items())
        text = (
            f"step {progress.step}  {progress.elapsed / 60:.1f} min  {figures}  "
            f"lr {self._plan.rate(progress):.2e}  {speed:.2f} it/s"
        )
        _console.print(text, highlight=False)
        with self._file.open("a", encoding="utf-8") as out:
            out.write(text + "\n")


@torch.no_grad()
def _follow(run: state.Run, decay: float) -> None:
    pairs = zip(run.average.parameters(), run.modules.parameters(), strict=True)
    for slow, fast in pairs:
        slow.lerp_(fast, 1.0 - decay)


def _agree(modules: nn.Module, elapsed: float) -> float:
    """Average the gradients over the processes and return their mean elapsed time.

    All processes must see the same time, or they would stop at different steps.
    """
    clock = torch.tensor([elapsed], dtype=torch.float32)
    grads = [weight.grad for weight in modules.parameters() if weight.grad is not None]
    parallel.total([*grads, clock])
    for grad in grads:
        grad.div_(parallel.size())
    return float(clock) / parallel.size()


def _begin(trainer: Trainer, plan: Plan, file: Path, seed: int) -> state.Run:
    """Return a fresh run, or the one that `file` holds."""
    parallel.start()
    modules = trainer.modules
    current = state.Run(
        modules,
        copy.deepcopy(modules).requires_grad_(False),
        Muon(modules, plan.peak, plan.weight_decay),
        torch.Generator().manual_seed(seed),
    )
    if file.is_file():
        state.restore(file, current)
    if parallel.rank():
        current.generator.manual_seed(seed + 7919 * parallel.rank() + current.progress.step)
    return current


def _step(trainer: Trainer, plan: Plan, current: state.Run, started: float) -> Mapping[str, Tensor]:
    progress = current.progress
    for group in current.optimizer.param_groups:
        group["lr"] = plan.rate(progress)
    losses = trainer.losses(current.generator)
    current.optimizer.zero_grad()
    losses["loss"].backward()  # type: ignore[no-untyped-call]
    progress.elapsed = _agree(current.modules, time.monotonic() - started)
    nn.utils.clip_grad_norm_(current.modules.parameters(), 1.0)
    current.optimizer.step()
    progress.step += 1
    return losses


def run(trainer: Trainer, plan: Plan, folder: Path, seed: int) -> nn.Module:
    """Train until the plan's budget is spent, resuming from `folder`; return the average.

    With several processes only the first one's average is kept up and worth saving.

    The same call after an interruption goes on where the last checkpoint stood; after a
    finished run it begins a warm restart.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "state.safetensors"
    current = _begin(trainer, plan, file, seed)
    progress, log = current.progress, _Log(folder / "log.txt", plan)
    saved, started = progress.elapsed, time.monotonic() - progress.elapsed
    while plan.spent(progress) < 1.0:
        losses = _step(trainer, plan, current, started)
        if parallel.rank():
            continue
        _follow(current, min(plan.average, progress.step / (progress.step + 10)))
        log.add(losses, progress)
        if progress.step % plan.sheet_every == 0:
            trainer.sheet(current.average, folder / f"sheet-{progress.step:06d}.png")
        if progress.elapsed - saved > plan.save_seconds:
            state.save(file, current)
            saved = progress.elapsed
    progress.finished = True
    if parallel.rank() == 0:
        state.save(file, current)
        trainer.sheet(current.average, folder / "sheet-last.png")
    return current.average
