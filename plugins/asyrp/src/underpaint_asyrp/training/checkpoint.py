"""An unfinished training on disk: one safetensors file, its plan as JSON in the header."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor
from underpaint.commands.files import write_all
from underpaint.errors import InvalidRequestError

from underpaint_asyrp.training.method import Learner
from underpaint_asyrp.training.plan import Plan

_DIRECTION, _OPTIMIZER = "direction.", "optimizer."


@dataclass(frozen=True)
class Checkpoint:
    """Where a training's state is kept, and whose it is.

    Attributes
    ----------
    path : the file.
    plan, model_digest : of the training; a file of another one is refused.
    """

    path: Path
    plan: Plan
    model_digest: str

    def save(self, learner: Learner, done: int) -> None:
        """Write the state after `done` batches, whole or not at all.

        Raises
        ------
        InvalidRequestError
            If the system refuses, with its reason.
        """
        tensors = {_DIRECTION + key: v for key, v in learner.direction.state_dict().items()}
        state = learner.optimizer.state_dict()["state"]
        for index, values in state.items():
            tensors |= {f"{_OPTIMIZER}{index}.{key}": v for key, v in values.items()}
        header = {"done": done, "losses": learner.losses, **self._identity()}
        written = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        content = to_bytes(written, {"underpaint": json.dumps(header)})
        write_all({self.path: bytes(content)})

    def restore(self, learner: Learner) -> int:
        """Put a kept state into the learner and return how many batches are done; 0 without one.

        Raises
        ------
        InvalidRequestError
            If the file is another training's, or cannot be read.
        """
        if not self.path.exists():
            return 0
        try:
            with safe_open(self.path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get("underpaint", "{}"))
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, ValueError) as error:
            raise self._refuse(f"cannot be read ({error})") from error
        if {key: header.get(key) for key in self._identity()} != self._identity():
            raise self._refuse("belongs to a training with other settings, or of another model")
        learner.direction.load_state_dict(_part(tensors, _DIRECTION))
        _restore_optimizer(learner.optimizer, _part(tensors, _OPTIMIZER))
        learner.losses[:] = header["losses"]
        return int(header["done"])

    def remove(self) -> None:
        """Delete the file: the training is finished."""
        self.path.unlink(missing_ok=True)

    def _identity(self) -> dict[str, object]:
        return {"plan": self.plan.model_dump(mode="json"), "model_digest": self.model_digest}

    def _refuse(self, reason: str) -> InvalidRequestError:
        return InvalidRequestError(
            f"{self.path} {reason}. Delete it to begin anew, or choose another -o."
        )


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: v for key, v in tensors.items() if key.startswith(prefix)}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
