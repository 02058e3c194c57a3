"""What the machine is: versions, processor, accelerators."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("underpaint", "torch", "diffusers", "transformers")

FEATURES = {
    "avx2": "avx2",
    "avx512": "avx512f",
    "bf16": "avx512_bf16",
    "amx": "amx_tile",
    "amx-bf16": "amx_bf16",
    "neon": "asimd",
    "arm-bf16": "bf16",
}
"""What is told, and how Linux calls it."""


def versions() -> dict[str, str]:
    """Return the version of Python and of each package, empty where it is not installed."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def processor(cpuinfo: str | None = None) -> tuple[str, list[str]]:
    """Return the processor's name and the features that matter here.

    `cpuinfo` is the text of ``/proc/cpuinfo``; None reads it where there is one.
    """
    if cpuinfo is None:
        file = Path("/proc/cpuinfo")
        cpuinfo = file.read_text("utf-8") if file.exists() else ""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    fields = {key.strip().casefold(): value.strip() for key, _, value in reversed(list(lines))}
    flags = set(fields.get("flags", fields.get("features", "")).split())
    name = fields.get("model name") or platform.processor() or platform.machine()
    return name, [told for told, flag in FEATURES.items() if flag in flags]


def accelerators() -> list[str]:
    """Return the CUDA devices that torch sees, with their memory and generation."""
    import torch

    if not torch.cuda.is_available():
        return []
    devices = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return [f"{d.name}, {d.total_memory / 2**30:.0f} GiB, sm_{d.major}{d.minor}" for d in devices]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
