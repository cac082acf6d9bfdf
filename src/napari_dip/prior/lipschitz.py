"""The Lipschitz bound on convolutions, and batch normalisation, which undoes it (Section 4.1)."""

from __future__ import annotations

import torch

POWER_ITERATIONS_COLD = 20
POWER_ITERATIONS_WARM = 2
_SQUARINGS = 3  # each iteration multiplies by the 2**3-th power of the Gram matrix


def exact_spectral_norms(kernels: torch.Tensor) -> torch.Tensor:
    """Return the largest singular value of each kernel, reshaped to ``(out, in * k * k)``, by SVD.

    Parameters
    ----------
    kernels : Tensor
        ``(n, out, in, k, k)``.

    Returns
    -------
    Tensor
        ``(n,)``, the ‖w‖sn of Eq. 3. It bounds the convolution's operator norm only up to a factor of k.
    """
    singular_values: torch.Tensor = torch.linalg.svdvals(kernels.flatten(2))
    return singular_values[:, 0]


def spectral_norms(
    kernels: torch.Tensor, vectors: torch.Tensor, iterations: int = POWER_ITERATIONS_WARM
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the spectral norms of a batch of kernels by power iteration on their Gram matrices.

    The Gram matrix w wᵀ is small. Repeated squaring makes each iteration worth eight, so that vectors kept from one
    step to the next follow the norm even where the two largest singular values cross.

    Parameters
    ----------
    kernels : Tensor
        ``(n, out, in, k, k)``.
    vectors : Tensor
        ``(n, out)``, the left singular vectors of the step before, or any non-zero start.
    iterations : int
        2 are enough to follow an optimisation; a random start needs 20.

    Returns
    -------
    norms : Tensor
        ``(n,)``, never above the exact values, except by rounding.
    vectors : Tensor
        ``(n, out)``, the start for the next call.
    """
    matrices = kernels.detach().flatten(2).float()  # (n, out, in * k * k)
    gram = matrices @ matrices.mT  # (n, out, out)
    power = gram
    for _ in range(_SQUARINGS):
        scale = torch.linalg.matrix_norm(power).clamp_min(torch.finfo(power.dtype).tiny)
        power = power / scale[:, None, None]
        power = power @ power
    column = vectors[:, :, None]  # (n, out, 1)
    for _ in range(iterations):
        column = torch.nn.functional.normalize(power @ column, dim=1)
    squares = (column.mT @ gram @ column)[:, 0, 0]  # Rayleigh quotient: its error is of second order
    return squares.clamp_min(0).sqrt(), column[:, :, 0]


def bound_kernels(
    kernels: torch.Tensor, norms: torch.Tensor, lipschitz_bound: float | torch.Tensor | None
) -> torch.Tensor:
    """Return w / max(1, ‖w‖sn / λ) (Eq. 5): kernels above the bound λ are scaled down to it, others stay as they are.

    Parameters
    ----------
    kernels : Tensor
        ``(n, out, in, k, k)``.
    norms : Tensor
        ``(n,)``; treated as constants, as in the published implementation.
    lipschitz_bound : float, Tensor or None
        λ, as a number or ``()`` on the kernels' device; None for no bound.
    """
    if lipschitz_bound is None:
        return kernels
    return kernels / (norms / lipschitz_bound).clamp_min(1.0)[:, None, None, None, None]


def batch_normalise(features: torch.Tensor, gain: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """Subtract each channel's mean, divide by its deviation, scale and shift: invariant to ‖w‖ (Eq. 4).

    Parameters
    ----------
    features : Tensor
        ``(s, c, h, w)``.
    gain, bias : Tensor
        ``(s, c)``.
    """
    wide = features.float()
    variance, mean = torch.var_mean(wide, dim=(2, 3), correction=0)
    scale = gain * torch.rsqrt(variance + 1e-5)
    return (wide * scale[:, :, None, None] + (bias - mean * scale)[:, :, None, None]).to(features.dtype)
