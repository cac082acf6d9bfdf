"""Neighbouring planes as the network's partner: filters reach through them where the network helps to find the way."""

from __future__ import annotations

import torch

from ..measurement.noise import ChannelNoise, NoiseModel
from .neighbours import NeighbourFilter
from .partner import Judgement, Partner, best_share, complete, squared_bias


class NeighbourPartner(Partner):
    """Denoises a plane with its neighbours, and with the network's output as the pilot of the last filters.

    The network's output p and a first estimate n, which already has what the neighbours know, are blended to
    n + a (p - n): the image that is judged. The share a, in [0, 1], has the smallest squared error on the held-out
    pixels, which the filter of the first estimate does not see. The final result is a pass of the filters with that
    blend as pilot, over all known pixels. Filters of this plane alone take no part: they would undo what the
    neighbours gave.

    Parameters
    ----------
    values : Tensor
        ``(1, c, h, w)``, the degraded plane.
    fitted, held_out : Tensor
        ``(1, 1, h, w)`` bool. Pixels that are neither are missing: there the result is p plus a smooth continuation of
        what the filters change around them.
    noise : NoiseModel or ChannelNoise
        White.
    neighbours : NeighbourFilter
    """

    def __init__(
        self,
        values: torch.Tensor,
        fitted: torch.Tensor,
        held_out: torch.Tensor,
        noise: NoiseModel | ChannelNoise,
        neighbours: NeighbourFilter,
    ) -> None:
        self._values, self._held_out, self._noise, self._neighbours = values, held_out, noise, neighbours
        self._known = fitted | held_out
        self._is_complete = bool(self._known.all())
        # once is enough: the last filters see all known pixels
        self._first, self._left_over = neighbours.denoise(values, fitted)

    @property
    def neighbours(self) -> int:
        """How many neighbouring planes help."""
        return self._neighbours.count - 1

    def judge(self, output: torch.Tensor) -> Judgement:
        """Blend first estimate and network, and measure the error of the blend."""
        image = self._blend(output)
        errors = (image - self._values).square()
        return Judgement(image, errors.mean(dim=1, keepdim=True) * self._held_out, self._held_out)

    def help(self, output: torch.Tensor, *, quick: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the plane from all known pixels, and its squared error.

        The error is the variance of the noise that the filters let through, plus the square of their bias. With
        ``quick``, the last filters and the bias are left out.
        """
        blend = self._blend(output)
        if quick:
            return blend, self._left_over
        image, variance = self._neighbours.improve(blend, self._values, self._known)
        image = self._complete(image, output)
        return image, variance + squared_bias(image, self._noise)

    def _blend(self, output: torch.Tensor) -> torch.Tensor:
        share = best_share(output - self._first, self._values - self._first, self._held_out)
        return self._complete(torch.lerp(self._first, output, share), output)

    def _complete(self, image: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        return image if self._is_complete else complete(image, output, self._known)
