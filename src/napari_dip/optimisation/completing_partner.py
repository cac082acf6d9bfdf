"""The fit's residual as the network's partner where pixels are missing and the noise is unknown."""

from __future__ import annotations

import torch

from ..measurement.missing_pixels import fill_smoothly
from .partner import Judgement, Partner, best_share


class CompletingPartner(Partner):
    """Makes the fill between known pixels join them smoothly, by continuing the fit's residual.

    The residual of the fitted pixels is filled in smoothly between them, and a share of it in [0, 1] is added to the
    output there: the share with the smallest squared error on the held-out pixels (it is small if the residual is
    noise). Fitted pixels themselves stay as the network draws them.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``, the degraded image.
    fitted, held_out : Tensor
        ``(1, 1, h, w)`` bool.
    """

    def __init__(self, values: torch.Tensor, fitted: torch.Tensor, held_out: torch.Tensor) -> None:
        self._values, self._fitted, self._held_out = values, fitted, held_out

    def judge(self, output: torch.Tensor) -> Judgement:
        """Continue the residual of the fitted pixels; the noise is unknown."""
        change, share = self._continue_residual(output)
        return Judgement(torch.where(self._fitted, output, output + share * change))

    def help(self, output: torch.Tensor, *, quick: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the same, continued from all known pixels, and a variance of 0, because the noise is unknown."""
        _, share = self._continue_residual(output)
        known = self._fitted | self._held_out
        change = fill_smoothly(torch.where(known, self._values - output, 0.0), known)
        return torch.where(known, output, output + share * change), output.new_zeros(())

    def _continue_residual(self, output: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the continued residual of the fitted pixels, and the best share of it."""
        residual = self._values - output
        continued = fill_smoothly(torch.where(self._fitted, residual, 0.0), self._fitted)
        return continued, best_share(continued, residual, self._held_out)
