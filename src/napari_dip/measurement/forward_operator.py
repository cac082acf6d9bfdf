"""The forward operator A of y = A(x) + e (Section 2.1): how the true image became the measured one."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from torch.nn import functional

BLOCK = 8  # side of JPEG's blocks
_LOBES = 3  # of Pillow's Lanczos filter


class ForwardOperator(Protocol):
    """A, as a function of the image."""

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Map ``(s, c, h, w)`` images to their measurements."""
        ...


class InvertibleOperator(ForwardOperator, Protocol):
    """An A that can be undone without making noise stronger."""

    def pseudo_invert(self, measured: torch.Tensor) -> torch.Tensor:
        """Return the smallest image (in the mean square) with this measurement."""
        ...


@dataclass(frozen=True, slots=True)
class Identity:
    """Measures every pixel as it is."""

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Return the image."""
        return image

    def pseudo_invert(self, measured: torch.Tensor) -> torch.Tensor:
        """Return the measurement."""
        return measured


@dataclass(frozen=True, slots=True)
class Downsampling:
    """Lanczos downsampling by a whole factor, as Pillow does it: three lobes, renormalised at the borders.

    Attributes
    ----------
    rows, columns : Tensor
        ``(h, h * factor)`` and ``(w, w * factor)``, the weights along each side.
    inverse_rows, inverse_columns : Tensor
        Their pseudo-inverses, ``(h * factor, h)`` and ``(w * factor, w)``.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    inverse_rows: torch.Tensor
    inverse_columns: torch.Tensor

    @classmethod
    def by(cls, factor: int, size: tuple[int, int], device: torch.device | str = "cpu") -> Downsampling:
        """Return the downsampling to ``size`` (height, width) of the small image by ``factor``."""
        weights = [lanczos_weights(side, factor) for side in size]
        inverses = [torch.linalg.pinv(each.double()).float() for each in weights]
        return cls(*(each.to(device) for each in (*weights, *inverses)))

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Map ``(s, c, h * factor, w * factor)`` to ``(s, c, h, w)``."""
        return self.rows @ image @ self.columns.mT

    def pseudo_invert(self, measured: torch.Tensor) -> torch.Tensor:
        """Map ``(s, c, h, w)`` to ``(s, c, h * factor, w * factor)``."""
        return self.inverse_rows @ measured @ self.inverse_columns.mT


@dataclass(frozen=True, slots=True, eq=False)
class Blur:
    """Convolution with a point spread function h: y = h * x, where x extends beyond y by half of h on each side.

    What lies beyond the image shines into it, so the image's surroundings are part of x, and free: a border that is
    assumed (dark, mirrored or periodic) would draw its own structures along the edges.

    Attributes
    ----------
    transfer : Tensor
        ``(1 or c, fft height, fft width // 2 + 1)`` complex, the Fourier transform of h.
    size : (int, int)
        (h, w) of y.
    margin : (int, int)
        How many rows and columns x has beyond y on each side.
    fft_size : (int, int)
        At least the size of x, and quick to transform.
    dimming : float
        How many times darker a single point appears.
    """

    transfer: torch.Tensor
    size: tuple[int, int]
    margin: tuple[int, int]
    fft_size: tuple[int, int]
    dimming: float

    @classmethod
    def by(cls, psf: NDArray[np.float64], size: tuple[int, int], device: torch.device | str = "cpu") -> Blur:
        """Return the blur by a PSF, ``(k, l)`` or ``(k, l, c)`` with odd k and l and a sum of 1, for y of ``size``."""
        kernel = np.atleast_3d(psf).transpose(2, 0, 1)
        margin = (kernel.shape[1] // 2, kernel.shape[2] // 2)
        rows, columns = (next_fast_len(side + 2 * beyond, real=True) for side, beyond in zip(size, margin, strict=True))
        centred = np.zeros((len(kernel), rows, columns))
        centred[:, : kernel.shape[1], : kernel.shape[2]] = kernel
        centred = np.roll(centred, (-margin[0], -margin[1]), axis=(1, 2))
        transfer = np.fft.rfft2(centred).astype(np.complex64)
        return cls(torch.from_numpy(transfer).to(device), size, margin, (rows, columns), float(1 / kernel.max()))

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Map ``(s, c, h + 2 * margin, w + 2 * margin)`` to ``(s, c, h, w)``."""
        blurred = torch.fft.irfft2(torch.fft.rfft2(image, self.fft_size) * self.transfer, self.fft_size)
        return self.cut(blurred)

    def transpose(self, measured: torch.Tensor) -> torch.Tensor:
        """Map ``(s, c, h, w)`` to ``(s, c, h + 2 * margin, w + 2 * margin)``: correlation with the PSF."""
        return self.invert(measured, self.transfer.conj())

    def inverse(self, regularisation: float | torch.Tensor) -> torch.Tensor:
        """Return the Fourier transform of a regularised inverse, H* / (|H|² + regularisation), shaped as H."""
        return self.transfer.conj() / (self.transfer.abs().square() + regularisation)

    def invert(self, measured: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
        """Map ``(s, c, h, w)``, 0 beyond its borders, to the shape of x by such an inverse."""
        found = torch.fft.irfft2(torch.fft.rfft2(self.surround(measured), self.fft_size) * inverse, self.fft_size)
        return found[..., : self.size[0] + 2 * self.margin[0], : self.size[1] + 2 * self.margin[1]]

    def cut(self, image: torch.Tensor) -> torch.Tensor:
        """Return the part of x, or of something as large, that y shows: ``(s, c, h, w)``."""
        (top, left), (height, width) = self.margin, self.size
        return image[..., top : top + height, left : left + width]

    def surround(self, image: torch.Tensor) -> torch.Tensor:
        """Return ``(s, c, h, w)`` with zeros around it, in the shape of x."""
        (top, left) = self.margin
        return functional.pad(image, (left, left, top, top))


@dataclass(frozen=True, slots=True)
class BlockCosines:
    """The orthonormal cosine transform of an image's blocks, from its top left corner.

    Rows and columns beyond the last whole block are cut off, because JPEG codes them together with padding.

    Attributes
    ----------
    side : int
        n, the blocks' side in pixels; JPEG's by default.
    """

    side: int = BLOCK

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Map ``(s, c, h, w)`` to coefficients ``(s, c, h // n * n, w // n * n)``, block by block in place."""
        height, width = (size // self.side * self.side for size in image.shape[-2:])
        return _transform_blocks(image[..., :height, :width], cosines_like(self.side, image))

    def invert(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Map coefficients ``(s, c, h, w)`` of whole blocks back to pixels of the same shape."""
        return _transform_blocks(
            coefficients, cosines_like(self.side, coefficients).mT
        )  # orthonormal: the inverse is the transpose


def lanczos_weights(small: int, factor: int) -> torch.Tensor:
    """Return Pillow's weights from ``small * factor`` pixels to ``small``: a row per small pixel, each with sum 1."""
    large = small * factor
    centres = (torch.arange(small, dtype=torch.float64)[:, None] + 0.5) * factor
    distance = (torch.arange(large, dtype=torch.float64)[None, :] + 0.5 - centres) / factor
    weights = torch.where(distance.abs() < _LOBES, torch.sinc(distance) * torch.sinc(distance / _LOBES), 0.0)
    return (weights / weights.sum(dim=1, keepdim=True)).float()


def cosines(length: int) -> torch.Tensor:
    """Return the orthonormal DCT-II matrix, ``(n, n)``: frequency, position."""
    frequency, position = torch.arange(length)[:, None], torch.arange(length)[None, :]
    phase = math.pi * (2 * position + 1).to(torch.float32) * frequency / (2 * length)
    matrix = torch.cos(phase) * math.sqrt(2 / length)
    matrix[0] /= math.sqrt(2)
    return matrix


def cosines_like(length: int, image: torch.Tensor) -> torch.Tensor:
    """Return the same matrix on the image's device and in its type; it is copied there once, not at every step."""
    return _cosines_on(length, image.device, image.dtype)


@functools.lru_cache(maxsize=32)
def _cosines_on(length: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    return cosines(length).to(device=device, dtype=dtype)


def _transform_blocks(image: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Multiply every block of ``(s, c, h, w)`` by a square matrix from the left and its transpose from the right."""
    height, width = image.shape[-2:]
    side = len(matrix)
    rows = matrix @ image.reshape(*image.shape[:2], height // side, side, width)
    return (rows.reshape(*image.shape[:2], height, width // side, side) @ matrix.mT).reshape(image.shape)
