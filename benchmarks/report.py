"""JSON lines beside a table."""

from __future__ import annotations

import json
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
    """Replace `file` by these lines, each with the machine's description; None writes nothing."""
    if file is None:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    machine = hardware()
    content = "".join(json.dumps({**line, **machine}) + "\n" for line in lines)
    file.write_text(content, encoding="utf-8")
