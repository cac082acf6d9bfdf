"""How the noise of neighbouring pixels is correlated, measured in the image itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import fft, ndimage

_REACH = 5  # pixels over which noise may be correlated
_FLATTEST = 0.3  # share of the pixels, where the image changes least, in which the noise is measured
_WIDTH_OF_CHANGE, _WIDTH_OF_IMAGE = 3.0, 6.0  # pixels; σ of the blurs that find these and that take the image away
_FLOOR = 1e-3  # smallest variance of a coefficient, as a share of the mean
_LEAST = 0.1  # variance; with less, the flattest parts are clipped, or the channel is flat
_TAPER = np.hanning(2 * _REACH + 3)[1:-1]  # of the coefficients: far ones are uncertain


@dataclass(frozen=True, slots=True, eq=False)
class NoiseCorrelation:
    """The correlation of noise between pixels, the same all over the image.

    Attributes
    ----------
    coefficients : ndarray
        ``(11, 11)``: of pixels up to 5 rows and columns apart; 1 in the middle, tapered towards 0 at the edges.
    """

    coefficients: NDArray[np.float64]

    @property
    def of_neighbours(self) -> tuple[float, float]:
        """The correlation of neighbours along a row, and along a column."""
        along_row, along_column = self.coefficients[_REACH, _REACH + 1], self.coefficients[_REACH + 1, _REACH]
        return float(along_row / _TAPER[_REACH + 1]), float(along_column / _TAPER[_REACH + 1])

    def spectrum(self, side: int) -> torch.Tensor:
        """Return the variance of each cosine coefficient of a block, ``(side, side)``, relative to a pixel's."""
        wide = np.zeros((2 * side - 1, 2 * side - 1))
        reach = min(_REACH, side - 1)
        inner = slice(_REACH - reach, _REACH + reach + 1)
        wide[side - 1 - reach : side + reach, side - 1 - reach : side + reach] = self.coefficients[inner, inner]
        return block_spectrum(wide)

    def power(self, size: tuple[int, int]) -> NDArray[np.float64]:
        """Return the variance of each coefficient of a real Fourier transform, ``(h, w // 2 + 1)``; its mean is 1."""
        around = self._around(size)
        power = np.maximum(fft.rfft2(around).real, 0)
        return power / np.maximum(fft.fft2(around).real, 0).mean()

    def correlate(self, white: torch.Tensor) -> torch.Tensor:
        """Give white noise of variance 1, ``(s, c, h, w)``, this correlation."""
        size = white.shape[-2], white.shape[-1]
        noise = fft.irfft2(fft.rfft2(white.cpu().numpy()) * np.sqrt(self.power(size)), size)
        return torch.from_numpy(noise).to(white)

    def _around(self, size: tuple[int, int]) -> NDArray[np.float64]:
        """Return the coefficients around the first pixel of a periodic image."""
        around = np.zeros(size)
        shifts = range(-_REACH, _REACH + 1)
        for row, column in ((row, column) for row in shifts for column in shifts):
            around[row % size[0], column % size[1]] += self.coefficients[row + _REACH, column + _REACH]
        return around


def block_spectrum(covariance: NDArray[np.float64]) -> torch.Tensor:
    """Return the variance of each cosine coefficient of a block of noise, ``(n, n)``.

    It is the diagonal of T C Tᵀ: C the covariance of the block's pixels, T the transform.

    Parameters
    ----------
    covariance : ndarray
        ``(2n - 1, 2n - 1)``: of pixels up to n - 1 rows and columns apart.
    """
    side = (len(covariance) + 1) // 2
    transform = fft.dct(np.eye(side), axis=0, norm="ortho")
    apart = np.arange(side)[:, None] - np.arange(side) + side - 1
    of_pixels = covariance[apart[:, None, :, None], apart[None, :, None, :]]
    twice = [transform, transform] * 2
    variances = np.einsum("uy,vx,ua,vb,yxab->uv", *twice, of_pixels, optimize=True)
    return torch.from_numpy(np.maximum(variances, _FLOOR * variances.mean())).float()


def measure_correlation(stabilised: torch.Tensor, known: torch.Tensor) -> tuple[NoiseCorrelation, list[float]] | None:
    """Measure the correlation of noise, and its variance in each channel, where the image changes least.

    Parameters
    ----------
    stabilised : Tensor
        ``(1, c, h, w)``, on a scale on which the noise is equally strong everywhere; its finest detail has variance 1.
    known : Tensor
        ``(1, 1, h, w)`` bool.

    Returns
    -------
    (NoiseCorrelation, list of float) or None
        None if the flattest parts of no channel have noise.
    """
    seen = known[0, 0].cpu().numpy()
    each = [_autocovariance(channel, seen) for channel in stabilised[0].cpu().double().numpy()]
    variances = [float(covariance[_REACH, _REACH]) for covariance in each]
    noisy = [covariance / variance for covariance, variance in zip(each, variances, strict=True) if variance > _LEAST]
    if not noisy:
        return None
    mean = sum(noisy) / len(noisy)
    return NoiseCorrelation(mean * np.outer(_TAPER, _TAPER)), variances


def _autocovariance(image: NDArray[np.float64], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the autocovariance of the noise, ``(11, 11)``, from pairs of pixels in the flattest parts."""
    filled = np.where(seen, image, image[seen].mean())
    rows, columns = np.gradient(ndimage.gaussian_filter(filled, _WIDTH_OF_CHANGE))
    change = rows**2 + columns**2
    flat = seen & (change <= np.quantile(change[seen], _FLATTEST))
    noise = np.where(flat, filled - ndimage.gaussian_filter(filled, _WIDTH_OF_IMAGE), 0.0)
    size = [length + 2 * _REACH for length in image.shape]  # so that nothing wraps around
    near = np.ix_(*[np.arange(-_REACH, _REACH + 1)] * 2)
    products, pairs = (
        fft.irfft2(np.abs(fft.rfft2(part, size)) ** 2, size)[near] for part in (noise, flat.astype(float))
    )
    covariance: NDArray[np.float64] = products / np.maximum(pairs, 1)
    return covariance
