"""Pictures to invert."""

import torch

PROMPT = "a cat on grass"


def picture(seed=0):
    return torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed))


def eight_bit(value):
    return ((value * 255).round() / 255).numpy()
