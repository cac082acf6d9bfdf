"""Richardson-Lucy and a filtered inverse as the network's partners in taking out a blur."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.nn import functional

from ..measurement.data_term import DataTerm
from ..measurement.forward_operator import Blur
from ..measurement.missing_pixels import blur
from ..measurement.noise_correlation import block_spectrum
from .collaborative_filter import collaborative_filter, match_blocks
from .partner import DenoisingPartner, Judgement, Partner
from .wiener_filter import wiener_filter

# Of Richardson-Lucy: while the network learns, and those among which the simulation chooses. On a denoised image more
# or fewer were never better by much, and sometimes worse (docs/deconvolve.md).
_ITERATIONS, _CHOICES = 40, (28, 40, 56)
_FIRST = 1 / 3  # share of the first estimate in the denoised image
_INVERSE = 1 / 3  # share of the filtered inverse in the result
# Share of the network's own output in the result, if held-out pixels find it as good as the rest; none if its squared
# error there, noise included, is larger by the second.
_NETWORK, _WORSE = 0.15, 0.1
_LEAST_LIGHT, _LEAST_SEEN = 1e-4, 0.01  # of the range; of a pixel of x, the share that reaches y
_BLOCK_SIDES, _SHIFTS = (8, 16), 4  # of the Wiener filter after the inverse
_PASS = (8, 4, 12, 32)  # of the collaborative filter after it: side, stride, reach, count
_AROUND = 2.0  # pixels; σ of the blur that makes the squares of one simulated error a variance


class DeconvolvingPartner(Partner):
    """Denoises the blurred image with the network as pilot, and takes the blur out of that.

    The network's output x is blurred to A(x), which guides the filters that denoise the degraded image y; held-out
    pixels decide how much of each filter to use. Richardson-Lucy deconvolves what they make. On the noisy image it
    makes noise stronger with every iteration, so that someone must choose when to stop; on a denoised image that
    matters less.

    The final result does more. A share of the filters' first estimate is mixed into the denoised image. The number of
    iterations is the best one for a simulation: the result so far is blurred, noise is added, and this is denoised and
    deconvolved as y was; how far that comes from the result so far is also the squared error. Last, the result takes a
    share of a filtered inverse: itself plus a regularised inverse of the residual, from which Wiener filters and a
    collaborative filter, which know the spectrum of the noise after the inverse, have taken the noise. And it takes a
    share of the network's own output.

    Parameters
    ----------
    data_term : DataTerm
        Of a ``Blur``, with known noise.
    fitted, held_out : Tensor
        ``(1, 1, h, w)`` bool.

    References
    ----------
    The simulation is a parametric bootstrap: Efron and Tibshirani, An Introduction to the Bootstrap, 1993. The filtered
    inverse: Dabov, Foi, Katkovnik and Egiazarian: Image restoration by sparse 3D transform-domain collaborative
    filtering, SPIE 6812, 2008.
    """

    def __init__(self, data_term: DataTerm, fitted: torch.Tensor, held_out: torch.Tensor) -> None:
        assert isinstance(data_term.operator, Blur)
        assert data_term.noise is not None
        self._data_term, self._operator, self._noise = data_term, data_term.operator, data_term.noise
        self._fitted, self._held_out, self._known = fitted, held_out, fitted | held_out
        self._denoiser = DenoisingPartner(data_term.values, fitted, held_out, data_term.noise)

    def judge(self, output: torch.Tensor) -> Judgement:
        """Take the blur out of what the filters make of the fitted pixels; the held-out ones judge it.

        Where noise is correlated, what the filters make is judged instead, before the blur is taken out.
        """
        judgement = self._denoiser.judge(self._operator(output))
        image = deconvolve(judgement.image, self._operator)
        is_white = self._noise.correlation is None
        return Judgement(image) if is_white else Judgement(image, judgement.errors, judgement.judges)

    def help(self, output: torch.Tensor, *, quick: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the image from all known pixels, and its squared error as the simulation says.

        With ``quick``, Richardson-Lucy runs its usual number of iterations, nothing follows, and the error is 0.
        """
        pilot = self._operator(output)
        denoised = self._denoise(self._denoiser, pilot, quick=quick)
        if quick:
            return deconvolve(denoised, self._operator), output.new_zeros(())
        images = dict(zip(_CHOICES, deconvolve_stepwise(denoised, self._operator, _CHOICES), strict=True))
        iterations, error = self._simulate(images[_ITERATIONS], pilot)
        image = images[iterations]
        image = torch.lerp(image, self._filter_inverse(image), _INVERSE)
        return torch.lerp(image, output, self._share_of_network(output)), error

    def _share_of_network(self, output: torch.Tensor) -> torch.Tensor:
        """Return how much of the network's own output the result takes, ``()``.

        Held-out pixels see the images only through the blur, so they cannot choose that share; they can say whether the
        network has learned.
        """
        own, other = (
            (self._data_term.errors(each) * self._held_out).sum() for each in (output, self.judge(output).image)
        )
        worse = own / other.clamp_min(torch.finfo(other.dtype).tiny) - 1
        return _NETWORK * (1 - worse / _WORSE).clamp(0, 1)

    def _denoise(self, denoiser: DenoisingPartner, pilot: torch.Tensor, *, quick: bool) -> torch.Tensor:
        """Return what all filters make of the known pixels, ``(1, c, h, w)``, with a share of the first estimate."""
        denoised, _ = denoiser.help(pilot, quick=quick)
        return torch.where(self._known, torch.lerp(denoised, denoiser.first_estimate, _FIRST), denoised)

    def _simulate(self, truth: torch.Tensor, pilot: torch.Tensor) -> tuple[int, torch.Tensor]:
        """Return how many iterations restore an image best from its simulated measurement, and the squared error then.

        The error is ``(1, 1, H, W)``.
        """
        measured = self._operator(truth)
        # the same on every device and in every run
        noise = torch.randn(measured.shape, generator=torch.Generator().manual_seed(0))
        if self._noise.correlation is not None:
            noise = self._noise.correlation.correlate(noise)
        measured = measured + noise.to(measured) * self._noise.variance(measured).sqrt()
        denoiser = DenoisingPartner(measured, self._fitted, self._held_out, self._noise)
        denoised = self._denoise(denoiser, pilot, quick=True)
        squares = [(each - truth).square() for each in deconvolve_stepwise(denoised, self._operator, _CHOICES)]
        best = min(range(len(squares)), key=lambda n: float(self._operator.cut(squares[n]).mean()))
        of_pixels = squares[best].mean(dim=1, keepdim=True)
        return _CHOICES[best], blur(of_pixels, torch.ones_like(of_pixels), _AROUND)

    def _filter_inverse(self, image: torch.Tensor) -> torch.Tensor:
        """Return the image plus a regularised inverse of its residual, filtered with the image itself as pilot."""
        operator, floor = self._operator, image.amin(dim=(2, 3), keepdim=True)
        inverse = operator.inverse(self._noise.mean_variance / float(image.var().clamp_min(_LEAST_LIGHT**2)))
        noisy = image + operator.invert(self._data_term.residual(image), inverse)
        (rows, columns), seen = operator.margin, self._noise.variance(operator(image))
        variance = functional.pad(seen, (columns, columns, rows, rows), mode="replicate")
        smallest = min(image.shape[-2:])
        filtered = [
            wiener_filter(image, noisy, variance, side, _SHIFTS, self._spectrum(inverse, side))[0]
            for side in _BLOCK_SIDES
            if 2 * side <= smallest
        ]
        if not filtered:
            return image
        pilot = torch.stack(filtered).mean(dim=0)
        side, stride, reach, count = _PASS
        groups = match_blocks(pilot, side, stride, reach, count)
        spectrum = self._spectrum(inverse, side)
        found, _ = collaborative_filter(pilot, noisy, variance, groups, side, stride, spectrum=spectrum)
        return torch.maximum(found, floor)

    def _spectrum(self, inverse: torch.Tensor, side: int) -> torch.Tensor:
        """Return the noise variance of a block's coefficients after an inverse, relative to a pixel's before it."""
        power = inverse.abs().square().mean(dim=0).cpu().double().numpy()
        if self._noise.correlation is not None:
            power = power * self._noise.correlation.power(self._operator.fft_size)
        covariance = np.fft.irfft2(power, self._operator.fft_size)
        near = [np.arange(1 - side, side) % length for length in covariance.shape]
        return block_spectrum(covariance[np.ix_(*near)])


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
    return next(deconvolve_stepwise(blurred, operator, [iterations]))


def deconvolve_stepwise(blurred: torch.Tensor, operator: Blur, iterations: Sequence[int]) -> Iterator[torch.Tensor]:
    """Yield what ``deconvolve`` returns after several numbers of iterations, the smallest first."""
    background = blurred.amin(dim=(2, 3), keepdim=True) - _LEAST_LIGHT
    light = blurred - background
    seen = operator.transpose(torch.ones_like(light)).clamp_min(_LEAST_SEEN)
    image = light.mean(dim=(2, 3), keepdim=True).expand_as(seen)
    for done in range(1, max(iterations) + 1):
        image = image * operator.transpose(light / operator(image).clamp_min(_LEAST_LIGHT)) / seen
        if done in iterations:
            yield image + background
