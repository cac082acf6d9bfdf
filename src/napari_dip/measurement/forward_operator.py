"""The forward operator A of y = A(x) + e (Section 2.1): how the true image became the measured one."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Protocol

import torch

BLOCK = 8  # side of JPEG's blocks
_LOBES = 3  # of Pillow's Lanczos filter


class ForwardOperator(Protocol):
    """A, as a function of the image."""

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Map ``(s, c, h, w)`` images to their measurements."""
        ...

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
