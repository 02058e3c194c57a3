"""JSON lines beside a table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

import torch
from underpaint.commands.machine import accelerators, processor

_PACKAGES = ("underpaint", "torch", "diffusers", "onnxruntime", "openvino")


def hardware() -> dict[str, object]:
    """Return what every line says of the machine and its software."""
    name, features = processor()
    return {
        "processor": name,
        "features": features,
        "accelerators": accelerators(),
        "threads": torch.get_num_threads(),
        "versions": {package: version(package) for package in _PACKAGES},
    }


def write_lines(file: Path | None, lines: Iterable[Mapping[str, object]]) -> None:
    """Replace `file` by these lines, each with the machine's description; None writes nothing.

    NaN, a value that could not be measured, is written as null: JSON has no NaN.
    """
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    machine = hardware()
    content = "".join(json.dumps({**_without_nan(line), **machine}) + "\n" for line in lines)
    file.write_text(content, encoding="utf-8")


def _without_nan(line: Mapping[str, object]) -> dict[str, object]:
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in line.items()
    }
