"""What a plan is compiled for."""

from __future__ import annotations

import ctypes
import platform
import sys
from typing import Any

import torch

NVML = {"win32": "nvml.dll"}.get(sys.platform, "libnvidia-ml.so.1")
"""NVIDIA's management library, which comes with the driver."""


def describe_device(device: torch.device) -> dict[str, Any]:
    """Return all of a machine that a plan depends on: GPU, SM, driver and system."""
    properties = torch.cuda.get_device_properties(device)
    return {
        "gpu": properties.name,
        "sm": [properties.major, properties.minor],
        "driver": _driver(),
        "system": [platform.system(), platform.machine()],
    }


def _driver() -> str:
    """Return the driver's version, e.g. "580.65.06"."""
    nvml = ctypes.CDLL(NVML)
    version = ctypes.create_string_buffer(96)
    nvml.nvmlInit_v2()
    try:
        nvml.nvmlSystemGetDriverVersion(version, len(version))
    finally:
        nvml.nvmlShutdown()
    return version.value.decode()
