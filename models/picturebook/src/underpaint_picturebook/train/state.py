"""The state of a training run as one safetensors file, replaced atomically; no pickle."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn


@dataclass
class Progress:
    """How far a run is; `elapsed` counts the seconds of the current segment only.

    A segment is one learning-rate schedule from warm-up to zero. Asking a finished run for
    more begins the next segment: a warm restart.
    """

    step: int = 0
    segment_start: int = 0
    elapsed: float = 0.0
    finished: bool = False


@dataclass
class Run:
    """All that a run needs to go on: weights, their average, optimiser and random state."""

    modules: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    progress: Progress = field(default_factory=Progress)


def save(file: Path, run: Run) -> None:
    """Write the run to `file`."""
    tensors = {f"model.{name}": value for name, value in run.modules.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in run.average.state_dict().items()}
    for index, entry in run.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in entry.items()}
    tensors["generator"] = run.generator.get_state()
    tensors = {name: value.detach().contiguous().clone() for name, value in tensors.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    save_file(tensors, partial, metadata={"progress": json.dumps(asdict(run.progress))})
    partial.replace(file)


def restore(file: Path, run: Run) -> None:
    """Bring the run back to what `save` wrote, in place.

    A finished run starts over from its averaged weights, with a fresh optimiser: a warm restart.
    """
    with safe_open(file, framework="pt") as source:
        metadata = source.metadata()
        tensors = {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118
    progress = Progress(**json.loads(metadata["progress"]))
    run.average.load_state_dict(_under("average.", tensors))
    run.generator.set_state(tensors["generator"])
    if progress.finished:
        run.modules.load_state_dict(_under("average.", tensors))
        run.progress = Progress(progress.step, segment_start=progress.step)
        return
    run.modules.load_state_dict(_under("model.", tensors))
    slots: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in _under("optimizer.", tensors).items():
        index, key = name.split(".", 1)
        slots.setdefault(int(index), {})[key] = value
    groups = run.optimizer.state_dict()["param_groups"]
    run.optimizer.load_state_dict({"state": slots, "param_groups": groups})
    run.progress = progress


def _under(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
