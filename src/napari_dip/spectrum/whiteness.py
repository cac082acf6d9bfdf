"""How white a residual is: if noise is independent from pixel to pixel, neighbours are uncorrelated."""

from __future__ import annotations

import torch


def neighbour_correlation(residual: torch.Tensor, known: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the correlation of neighbours along columns and along rows: 0 for white noise, to within 2 / sqrt(pixels).

    Above 0, structure was removed with the noise, or the noise is correlated; below 0, noise was fitted.

    Parameters
    ----------
    residual : Tensor
        ``(1, c, h, w)``.
    known : Tensor
        ``(1, 1, h, w)`` bool; only pairs of known pixels count.

    Returns
    -------
    (Tensor, Tensor)
        ``()``, each in [-1, 1]; 0 where the residual is 0 everywhere.
    """
    count = (known.sum() * residual.shape[1]).clamp_min(1)
    centred = torch.where(known, residual - torch.where(known, residual, 0.0).sum() / count, 0.0)
    variance = (centred.square().sum() / count).clamp_min(torch.finfo(residual.dtype).tiny)

    def correlation(one: torch.Tensor, other: torch.Tensor, pairs: torch.Tensor) -> torch.Tensor:
        return (one * other).sum() / (pairs.sum() * residual.shape[1]).clamp_min(1) / variance

    return (
        correlation(centred[..., 1:, :], centred[..., :-1, :], known[..., 1:, :] & known[..., :-1, :]),
        correlation(centred[..., 1:], centred[..., :-1], known[..., 1:] & known[..., :-1]),
    )
