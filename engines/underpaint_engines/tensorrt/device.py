"""What a plan is compiled for."""

from __future__ import annotations

import ctypes
import platform
import sys
from typing import Any

import torch
from underpaint.errors import ModelLoadError

NVML = {"win32": "nvml.dll"}.get(sys.platform, "libnvidia-ml.so.1")
"""NVIDIA's management library, which comes with the driver."""


def describe_device(device: torch.device) -> dict[str, Any]:
    """Return all of a machine that a plan depends on: GPU, SM, driver and system.

    Raises
    ------
    ModelLoadError
        If the driver does not tell its version.
    """
    properties = torch.cuda.get_device_properties(device)
    return {
        "gpu": properties.name,
        "sm": [properties.major, properties.minor],
        "driver": _driver(),
        "system": [platform.system(), platform.machine()],
    }


def _driver() -> str:
    """Return the driver's version, e.g. "580.65.06"."""
    version = ctypes.create_string_buffer(96)
    try:
        nvml = ctypes.CDLL(NVML)
    except OSError as error:
        raise ModelLoadError(
            f"{NVML}, of NVIDIA's driver, cannot be loaded ({error}). Reinstall the driver."
        ) from error
    failed = nvml.nvmlInit_v2() or nvml.nvmlSystemGetDriverVersion(version, len(version))
    nvml.nvmlShutdown()
    if failed:
        raise ModelLoadError(f"{NVML} does not tell the driver's version (error {failed}).")
    return version.value.decode()
