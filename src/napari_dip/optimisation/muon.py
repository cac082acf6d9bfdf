"""Muon: momentum whose updates are scaled to a spectral norm near 1 for each kernel, the unit of the bound λ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration, from Jordan et al.
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised: all singular values of each kernel's update are near the learning rate.

    Adam bounds each weight's step. Muon bounds the step's spectral norm and moves all singular directions alike:
    networks whose output is constant at first start to learn at once, and the others need a fifth of the steps.
    ``torch.optim.Muon`` takes one matrix at a time, ``(rows, columns)``; here all kernels of one shape form a batch.

    Parameters
    ----------
    kernels : iterable of Parameter
        ``(s, out, in, k, k)``: s matrices ``(out, in * k * k)`` each.
    learning_rate : float
        The spectral norm of a step, in the units of λ.
    momentum : float
        Share of the gradients' running sum kept at each step.

    References
    ----------
    Jordan et al.: Muon: an optimizer for hidden layers in neural networks, 2024. Bernstein and Newhouse: Modular
    duality in deep learning, 2024.
    """

    def __init__(self, kernels: Iterable[torch.nn.Parameter], learning_rate: float, momentum: float = 0.95) -> None:
        super().__init__(list(kernels), {"lr": learning_rate, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients; kernels without a gradient stay as they are."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[torch.Tensor]] = defaultdict(list)
            for kernel in group["params"]:
                if kernel.grad is not None:
                    by_shape[kernel.shape].append(kernel)
            for kernels in by_shape.values():
                self._step_together(kernels, group["momentum"], group["lr"])

    def _step_together(self, kernels: list[torch.Tensor], momentum: float, rate: float) -> None:
        """Update kernels of one shape, in few operations however many there are: on a GPU each one is a launch."""
        for kernel in kernels:
            if not self.state[kernel]:
                self.state[kernel]["momentum"] = torch.zeros_like(kernel)
        running = [self.state[kernel]["momentum"] for kernel in kernels]
        gradients = [kernel.grad for kernel in kernels if kernel.grad is not None]
        torch._foreach_mul_(running, momentum)
        torch._foreach_add_(running, gradients)
        ahead = torch._foreach_add(gradients, running, alpha=momentum)
        directions = torch.cat([each.flatten(2) for each in ahead])  # (n * s, out, in * k * k)
        updates = orthogonalise(directions).unflatten(2, kernels[0].shape[2:]).split(len(kernels[0]))
        torch._foreach_add_(kernels, updates, alpha=-rate)


def orthogonalise(matrices: torch.Tensor, iterations: int = _ITERATIONS) -> torch.Tensor:
    """Bring all singular values of matrices close to 1 (0.7 to 1.2) by a Newton-Schulz iteration: products only.

    Parameters
    ----------
    matrices : Tensor
        ``(n, rows, columns)``; zeros stay zeros.
    iterations : int

    Returns
    -------
    Tensor
        The same shape.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    near: torch.Tensor = matrices.mT if tall else matrices
    near = near / torch.linalg.matrix_norm(near, keepdim=True).clamp_min(torch.finfo(near.dtype).tiny)
    a, b, c = _COEFFICIENTS
    for _ in range(iterations):
        gram = near @ near.mT
        near = torch.baddbmm(near, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), near, beta=a)
    return near.mT if tall else near
