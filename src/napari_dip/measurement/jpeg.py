"""JPEG: each cosine coefficient of the image is known to within a quantisation cell."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from .forward_operator import BLOCK, BlockCosines

_LEVEL = 128.0  # JPEG subtracts it before the transform
_ROUNDING = 1.0  # how far rounded pixels move a coefficient: the deviation is 0.29, the rest is margin
_EXPLAINED = 0.9  # share of the coefficients that must lie on the lattice
_LARGEST_STEP = 255
FINEST_STEP = 2  # steps up to this are lost in the rounding of the pixels
_FEWEST_BLOCKS = 16
_MANY = 12  # this many coefficients determine the step


def quantised_coefficients(image: torch.Tensor) -> torch.Tensor:
    """Return the block cosine coefficients of an 8-bit image as JPEG sees them: ``(1, 1, h // 8 * 8, w // 8 * 8)``.

    Parameters
    ----------
    image : Tensor
        ``(1, 1, h, w)`` in [0, 255].
    """
    return BlockCosines()(image - _LEVEL)


def tile_table(table: np.ndarray, image: torch.Tensor) -> torch.Tensor:
    """Return the step of every coefficient, ``(1, 1, h // 8 * 8, w // 8 * 8)``, for an image ``(1, 1, h, w)``."""
    down, across = (side // BLOCK for side in image.shape[-2:])
    return torch.from_numpy(np.asarray(table, dtype=np.float32)).to(image).repeat(down, across)[None, None]


def nearest_lattice(image: torch.Tensor, steps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Undo the rounding of a decoded JPEG's pixels: return its coefficients as coded, and where they are certain.

    Parameters
    ----------
    image : Tensor
        ``(1, 1, h, w)`` whole numbers in [0, 255].
    steps : Tensor
        ``(1, 1, h // 8 * 8, w // 8 * 8)``.

    Returns
    -------
    (Tensor, Tensor)
        Both in the shape of ``steps``: the coefficients relative to level 128, moved onto a multiple of their step if
        they are close to one; and bool, False in blocks that touch black or white, which the decoder clipped.
    """
    coefficients = quantised_coefficients(image)
    multiples = (coefficients / steps).round() * steps
    moved = torch.where((coefficients - multiples).abs() < _ROUNDING, multiples, coefficients)
    height, width = steps.shape[-2:]
    clipped = ((image <= 0) | (image >= 255))[..., :height, :width].float()
    touching = functional.max_pool2d(clipped, BLOCK).repeat_interleave(BLOCK, -2).repeat_interleave(BLOCK, -1) > 0
    return torch.where(touching, coefficients, moved), ~touching


def estimate_quantisation_table(image: np.ndarray) -> NDArray[np.float64] | None:
    """Estimate the quantisation table of a grey image that was a JPEG, from its pixels alone.

    The coefficients of each frequency lie at multiples of its step, up to the rounding of the pixels. The step is the
    largest one that explains nearly all of them. Frequencies with few or no coefficients other than zero take the step
    that the others and the standard's example table suggest.

    Parameters
    ----------
    image : array
        ``(h, w)``, intensities in [0, 255], with its blocks starting at the top left corner.

    Returns
    -------
    array or None
        ``(8, 8)`` steps, vertical frequency first. None if no steps above 2 explain the coefficients: the image was
        never a JPEG, was a very fine one, or has been changed since.
    """
    pixels = torch.from_numpy(np.asarray(image, dtype=np.float32))[None, None]
    if min(image.shape) < BLOCK or (image.shape[0] // BLOCK) * (image.shape[1] // BLOCK) < _FEWEST_BLOCKS:
        return None
    coefficients = quantised_coefficients(pixels)[0, 0].numpy()
    down, across = coefficients.shape[0] // BLOCK, coefficients.shape[1] // BLOCK
    blocks = coefficients.reshape(down, BLOCK, across, BLOCK).transpose(1, 3, 0, 2).reshape(BLOCK, BLOCK, -1)
    # blocks that touch black or white were clipped after decoding: their coefficients left the lattice
    inside = (pixels > 0) & (pixels < 255)
    unclipped = inside[0, 0, : down * BLOCK, : across * BLOCK].numpy().reshape(down, BLOCK, across, BLOCK)
    # in a block without texture the rounding errors of neighbours agree and add up
    textured = (np.abs(blocks[1:, 1:]) > 2 * _ROUNDING).any(axis=(0, 1))
    usable = unclipped.all(axis=(1, 3)).flatten() & textured
    if usable.sum() < _FEWEST_BLOCKS:
        return None
    explaining = [[_explaining_steps(blocks[i, j][usable]) for j in range(BLOCK)] for i in range(BLOCK)]
    sure = np.array([[steps.max() if len(steps) and many else np.nan for steps, many in row] for row in explaining])
    if not np.isfinite(sure).any() or np.nanmedian(sure) <= FINEST_STEP:
        return None
    suggested = np.clip(np.round(np.nanmedian(sure / _EXAMPLE_TABLE) * _EXAMPLE_TABLE), 1, _LARGEST_STEP)
    table = suggested.copy()
    for i in range(BLOCK):
        for j in range(BLOCK):
            steps, _ = explaining[i][j]
            if np.isfinite(sure[i, j]):
                table[i, j] = sure[i, j]
            elif len(steps):  # few coefficients leave several steps possible, and may be outliers
                nearest = steps[np.abs(np.log(steps / suggested[i, j])).argmin()]
                if 2 / 3 < nearest / suggested[i, j] < 3 / 2:
                    table[i, j] = nearest
    return table


def _explaining_steps(coefficients: NDArray[np.float32]) -> tuple[NDArray[np.float64], bool]:
    """Return the steps whose multiples explain the coefficients (none if all are zero), and if these are many."""
    significant = coefficients[np.abs(coefficients) > 1.5 * _ROUNDING].astype(np.float64)
    steps = np.arange(1.0, _LARGEST_STEP + 1)
    if not len(significant):
        return steps[:0], False
    multiples = np.round(significant[:, None] / steps)
    near = np.abs(significant[:, None] - steps * multiples) < _ROUNDING
    # zero times a step does not explain a significant coefficient
    explained = (near & (multiples != 0)).mean(axis=0) >= _EXPLAINED
    return steps[explained], len(significant) >= _MANY


# The example luminance table of the standard (ITU-T T.81, table K.1), which most encoders scale.
_EXAMPLE_TABLE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    dtype=np.float64,
)
