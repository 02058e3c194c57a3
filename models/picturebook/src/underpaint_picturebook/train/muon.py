"""Muon for matrices and convolutions, AdamW for everything else, as one optimiser.

Muon (Jordan et al. 2024) orthogonalises the momentum of each weight matrix by a Newton-Schulz
iteration. The update is scaled by ``0.2 sqrt(max(rows, columns))`` so that it moves as far as
AdamW's and one learning rate serves both (arXiv 2502.16982, equation 4).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from underpaint_picturebook.train import parallel, precision

MOMENTUM = 0.95
BETAS = (0.9, 0.99)
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrix: Tensor, rounds: int = 5) -> Tensor:
    """Bring the singular values of a matrix near 1 (quintic Newton-Schulz iteration)."""
    a, b, c = COEFFICIENTS
    x = matrix.bfloat16() if precision.has_bf16(matrix.device.type) else matrix
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(rounds):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = (x.T if tall else x).to(matrix.dtype)
    return result


def _is_hidden(name: str, weight: Tensor) -> bool:
    """Say whether Muon takes a weight: no vectors, no embeddings, no first or last layers."""
    edges = ("embedding", "conv_in", "conv_out")
    return weight.ndim >= 2 and min(weight.shape[:2]) > 4 and not any(e in name for e in edges)


class Muon(torch.optim.Optimizer):
    """Muon on hidden matrices and convolutions, AdamW on the rest."""

    def __init__(self, module: nn.Module, lr: float, weight_decay: float) -> None:
        named = list(module.named_parameters())
        groups = [
            {"params": [p for name, p in named if _is_hidden(name, p) == muon], "muon": muon}
            for muon in (True, False)
        ]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every weight that has a gradient; the processes share the matrices' work."""
        del closure
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if group["muon"]:
                turns = [k % parallel.size() == parallel.rank() for k in range(len(weights))]
                pairs = zip(weights, turns, strict=True)
                changes = [self._muon(w) if mine else torch.zeros_like(w) for w, mine in pairs]
                parallel.total(changes)
            else:
                changes = [self._adam(weight) for weight in weights]
            for weight, change in zip(weights, changes, strict=True):
                weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(change, alpha=group["lr"])

    def _muon(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
        ahead = weight.grad.lerp(state["momentum"], MOMENTUM)  # type: ignore[union-attr]
        flat = orthogonalise(ahead.flatten(1))
        return flat.reshape(weight.shape) * (0.2 * math.sqrt(max(flat.shape)))

    def _adam(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros(())
            state["mean"] = torch.zeros_like(weight)
            state["square"] = torch.zeros_like(weight)
        state["step"] += 1
        state["mean"].lerp_(weight.grad, 1 - BETAS[0])
        state["square"].lerp_(weight.grad.square(), 1 - BETAS[1])  # type: ignore[union-attr]
        first, second = (1 - beta ** state["step"].item() for beta in BETAS)
        root = (state["square"] / second).sqrt_().add_(1e-8)
        change: Tensor = state["mean"] / first / root
        return change
