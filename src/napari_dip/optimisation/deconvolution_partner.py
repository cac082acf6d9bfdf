"""Richardson-Lucy as the network's partner in taking out a blur."""

from __future__ import annotations

import torch

from ..measurement.data_term import DataTerm
from ..measurement.forward_operator import Blur
from .partner import DenoisingPartner, Judgement

_ITERATIONS = 40  # on a denoised image their number hardly matters (docs/deconvolve.md)
_LEAST_LIGHT, _LEAST_SEEN = 1e-4, 0.01  # of the range; of a pixel of x, the share that reaches y


class DeconvolvingPartner:
    """Denoises the blurred image with the network as pilot, and takes the blur out of that by Richardson-Lucy.

    The network's output x is blurred to A(x), which guides the filters that denoise the degraded image y; held-out
    pixels decide how much of each filter to use. Alone, Richardson-Lucy makes noise stronger with every iteration, so
    that someone must choose when to stop; on a denoised image that hardly matters.

    Parameters
    ----------
    data_term : DataTerm
        Of a ``Blur``, with known noise.
    fitted, held_out : Tensor
        ``(1, 1, h, w)`` bool.
    """

    def __init__(self, data_term: DataTerm, fitted: torch.Tensor, held_out: torch.Tensor) -> None:
        assert isinstance(data_term.operator, Blur)
        assert data_term.noise is not None
        self._operator, self._is_white = data_term.operator, data_term.noise.correlation is None
        self._denoiser = DenoisingPartner(data_term.values, fitted, held_out, data_term.noise)

    @property
    def neighbours(self) -> int:
        """None: planes are deconvolved one by one."""
        return 0

    def judge(self, output: torch.Tensor) -> Judgement:
        """Take the blur out of what the filters make of the fitted pixels; the held-out ones judge it.

        Where noise is correlated, what the filters make is judged instead, before the blur is taken out.
        """
        judgement = self._denoiser.judge(self._operator(output))
        image = deconvolve(judgement.image, self._operator)
        return Judgement(image) if self._is_white else Judgement(image, judgement.errors, judgement.judges)

    def help(self, output: torch.Tensor, *, quick: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the same from all known pixels, and a variance of 0: how far the blur's removal errs is unknown."""
        denoised, _ = self._denoiser.help(self._operator(output), quick=quick)
        return deconvolve(denoised, self._operator), output.new_zeros(())


def deconvolve(blurred: torch.Tensor, operator: Blur, iterations: int = _ITERATIONS) -> torch.Tensor:
    """Take out a blur by Richardson-Lucy, from an even start.

    Light cannot be negative: nowhere does the result go below the blurred image's darkest pixel, the background.

    Parameters
    ----------
    blurred : Tensor
        ``(1, c, h, w)``, with little noise.
    operator : Blur
    iterations : int

    Returns
    -------
    Tensor
        ``(1, c, H, W)``, with its surroundings.

    References
    ----------
    Richardson: Bayesian-based iterative method of image restoration, Journal of the Optical Society of America 62,
    1972; Lucy, Astronomical Journal 79, 1974. The surroundings: Bertero and Boccacci, Astronomy and Astrophysics 437,
    2005.
    """
    background = blurred.amin(dim=(2, 3), keepdim=True) - _LEAST_LIGHT
    light = blurred - background
    seen = operator.transpose(torch.ones_like(light)).clamp_min(_LEAST_SEEN)
    image = light.mean(dim=(2, 3), keepdim=True).expand_as(seen)
    for _ in range(iterations):
        image = image * operator.transpose(light / operator(image).clamp_min(_LEAST_LIGHT)) / seen
    return image + background
