"""Data-parallel training: one process a core, gradients averaged once a step.

On a CPU that others use too, processes with one thread each lose far less than threads, which
meet at the end of every layer. Started as torch.distributed asks: the same command in each
process with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set.
"""

import os

import torch
from torch import Tensor
from torch import distributed as dist


def start() -> None:
    """Join the other processes, if the environment names any."""
    if size() > 1 and not dist.is_initialized():
        dist.init_process_group("gloo")


def size() -> int:
    """Return the number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Return which of the processes this one is; the first one logs and saves."""
    return int(os.environ.get("RANK", "0"))


def total(tensors: list[Tensor]) -> None:
    """Replace each tensor by its sum over the processes, in place."""
    if size() == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    dist.all_reduce(flat)
    start = 0
    for tensor in tensors:
        tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
        start += tensor.numel()
