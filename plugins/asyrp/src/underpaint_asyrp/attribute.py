"""An attribute: a trained direction in h-space, and what it was trained for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from underpaint.commands.files import write_all
from underpaint.engine import ModelInfo
from underpaint.errors import InvalidRequestError, NonFiniteError, UnknownNameError, choices
from underpaint.records import check_finite

from underpaint_asyrp.directions import ConstantDirection, ConvDirection, Direction, Kind
from underpaint_asyrp.process import Halves

SUFFIX = ".safetensors"
SHIPPED = Path(__file__).parent / "attributes"


class UnusableAttributeError(InvalidRequestError):
    """An attribute's file is missing or corrupt, or it was trained on another model."""


class AttributeFacts(BaseModel):
    """What a direction was trained for; the header of its file.

    Attributes
    ----------
    kind : ``conv`` (f_t of h) or ``constant`` (the same delta for every picture).
    model, model_digest : the model it belongs to.
    channels : width C of h; levels : number of the model's training timesteps.
    buckets, size : of a constant direction, see `ConstantDirection`.
    source, target : the texts whose difference it goes along.
    t_edit : the least timestep that is edited; t_boost : below it fresh noise is added.
    halves : whose h it moves: the conditional rows' (``cond``), or those of both halves.
    num_inference_steps, guidance_scale : of its training.
    training : further facts, for the reader.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["underpaint-asyrp-1"] = "underpaint-asyrp-1"
    kind: Kind
    model: str
    model_digest: str
    channels: int = Field(ge=1)
    levels: int = Field(1000, ge=1)
    buckets: int = Field(1, ge=1)
    size: tuple[int, int] = (1, 1)
    source: str
    target: str
    t_edit: int = Field(ge=0)
    t_boost: int = Field(0, ge=0)
    halves: Halves = "cond"
    num_inference_steps: int = Field(ge=1)
    guidance_scale: float
    training: dict[str, Any] = Field(default_factory=dict)

    def build(self) -> Direction:
        """Return an untrained direction of this kind."""
        if self.kind == "conv":
            return ConvDirection(self.channels)
        return ConstantDirection(self.channels, self.buckets, self.size, self.levels)


@dataclass(frozen=True, eq=False)
class Attribute:
    """A direction and its facts."""

    facts: AttributeFacts
    direction: Direction

    @classmethod
    def load(cls, name: str) -> Attribute:
        """Read the attribute of a name that is shipped, or of a .safetensors file.

        Raises
        ------
        UnknownNameError
            For a name that is not shipped; the message lists those that are.
        UnusableAttributeError
            If the file is missing, corrupt, or holds no attribute.
        """
        path = _locate(name)
        try:
            with safe_open(path, framework="pt") as file:
                header = json.loads((file.metadata() or {}).get("underpaint", "{}"))
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            facts = AttributeFacts.model_validate(header)
            direction = facts.build()
            direction.load_state_dict(
                {key: check_finite(key, value) for key, value in tensors.items()}
            )
        except (OSError, SafetensorError, NonFiniteError) as error:
            raise _unreadable(path, error) from error
        except (ValueError, RuntimeError) as error:  # other facts, or tensors that do not fit them
            raise _unreadable(path, error) from error
        return cls(facts, direction.eval().requires_grad_(False))

    def save(self, path: Path) -> None:
        """Write the attribute, whole or not at all.

        Raises
        ------
        InvalidRequestError
            If the system refuses, with its reason.
        """
        tensors = {
            key: value.detach().cpu().contiguous()
            for key, value in self.direction.state_dict().items()
        }
        header = {"underpaint": self.facts.model_dump_json()}
        write_all({path: bytes(to_bytes(tensors, header))})

    def check(self, name: str, model: ModelInfo) -> None:
        """Raise UnusableAttributeError if it was trained on another model than this."""
        if self.facts.model_digest != model.digest:
            raise UnusableAttributeError(
                f"Attribute {name!r} was trained on {self.facts.model!r} "
                f"({self.facts.model_digest[:12]}), this is {model.name!r} ({model.digest[:12]}): "
                "h-space is each model's own. Train it again: underpaint asyrp train "
                f"--model {model.name} --source {self.facts.source!r} "
                f"--target {self.facts.target!r} -o FILE."
            )


def shipped() -> dict[str, Path]:
    """Return the attributes that come with the plugin, by name."""
    return {path.stem: path for path in sorted(SHIPPED.glob(f"*{SUFFIX}"))}


def _locate(name: str) -> Path:
    if name.endswith(SUFFIX):
        return Path(name).expanduser()
    known = shipped()
    if name not in known:
        raise UnknownNameError(
            f"No attribute {name!r}. {choices(name, known)} Give one of these, or a {SUFFIX} file "
            "that `underpaint asyrp train` wrote."
        )
    return known[name]


def _unreadable(path: Path, error: Exception) -> UnusableAttributeError:
    reason = str(error).splitlines()[0]
    return UnusableAttributeError(
        f"{path} is no attribute that can be read ({reason}). Give a file that "
        "`underpaint asyrp train` wrote."
    )
