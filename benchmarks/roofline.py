"""How much of what the processor can do a UNet call uses."""

from __future__ import annotations

import statistics
import time

import torch
from torch.utils.flop_counter import FlopCounterMode
from underpaint_engines.checkpoint import open_checkpoint
from underpaint_engines.modules import load_modules

SIDE = 2048
REPEATS = 5


def matmul_peak(dtype: torch.dtype) -> float:
    """Return the FLOP/s of a large square matrix product, the median of some."""
    left, right = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
    torch.mm(left, right)
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        torch.mm(left, right)
        seconds.append(time.perf_counter() - started)
    return 2 * SIDE**3 / statistics.median(seconds)


def unet_flops(folder: str, rows: int) -> int:
    """Return the FLOPs of one plain UNet call: its convolutions, products and attention."""
    unet = load_modules(open_checkpoint(folder), torch.float32, torch.device("cpu")).unet.to("meta")
    size = unet.config.sample_size
    sample = torch.empty(rows, unet.config.in_channels, size, size, device="meta")
    context = torch.empty(rows, 77, unet.config.cross_attention_dim, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        unet(sample, torch.zeros(rows, device="meta"), context)
    return int(counter.get_total_flops())
