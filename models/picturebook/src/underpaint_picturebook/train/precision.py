"""bf16 where it is fast."""

import torch


def has_bf16(device: str) -> bool:
    """Say whether the device multiplies bf16 natively.

    A CPU without the instructions emulates them, ten times slower than fp32.
    """
    if device != "cpu":
        return True
    able = torch.cpu.get_capabilities()
    return any(bool(able.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def autocast(device: str) -> torch.autocast:
    """Return a context that computes in bf16, or changes nothing where bf16 is slow."""
    return torch.autocast(device, torch.bfloat16, enabled=has_bf16(device))
