"""Find pixels that a camera did not measure: saturated, zero, not finite, hot or cold, in dead rows and columns.

All ``find_`` functions take ``(h, w)`` or ``(h, w, c)`` with c = 1, 3 or 4 (the fourth is alpha and is ignored), any
real dtype, and return ``(h, w)`` bool, True where a pixel has the defect.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

_OUTLYING = 0.001  # share of pixels at either end that may be outliers, such as hot pixels
_SHARPER_THAN_OPTICS = 3  # from one pixel to the next, a sampled point spread function falls by less than this factor
_SEVERAL = 4  # this many pixels do not share the top value by chance
_BEYOND_NOISE = 8  # deviations
_AT_BORDER = "mirror"  # not "reflect", which would make a border pixel its own neighbour
_BINS = 16  # of brightness, each with the same number of pixels
_MAD_OF_NORMAL = 0.6745  # median absolute deviation of a standard normal
_LEAST_STEP = 0.02  # of the range: lines that differ less from their neighbours are uneven, not dead


def find_saturated(image: np.ndarray) -> NDArray[np.bool_]:
    """Find pixels at the largest value that the camera can record.

    That is the largest value of an integer dtype, or the image's own largest value (as from a 12-bit camera in 16 bits)
    if more pixels share it than the next smaller one, because clipped pixels pile up. At least four pixels must share
    it; one channel suffices.
    """
    colours = _colours(image)
    values = colours[np.isfinite(colours)]
    if values.size == 0:
        return np.zeros(colours.shape[:2], dtype=bool)
    top = values.max()
    count = np.count_nonzero(values == top)
    if count < _SEVERAL:
        return np.zeros(colours.shape[:2], dtype=bool)
    if not (np.issubdtype(colours.dtype, np.integer) and top == np.iinfo(colours.dtype).max):
        below = values[values < top]
        if below.size == 0 or np.count_nonzero(below == below.max()) >= count:
            return np.zeros(colours.shape[:2], dtype=bool)
    return np.any(colours == top, axis=2)


def find_zero(image: np.ndarray) -> NDArray[np.bool_]:
    """Find pixels that are 0 in all channels."""
    return np.all(_colours(image) == 0, axis=2)


def find_not_finite(image: np.ndarray) -> NDArray[np.bool_]:
    """Find pixels that are NaN or infinite in any channel."""
    return ~np.all(np.isfinite(_colours(image)), axis=2)


def find_above(image: np.ndarray, threshold: float) -> NDArray[np.bool_]:
    """Find pixels above a threshold, in the image's units, in any channel."""
    return np.any(_colours(image) > threshold, axis=2)


def find_below(image: np.ndarray, threshold: float) -> NDArray[np.bool_]:
    """Find pixels below a threshold, in the image's units, in all channels."""
    return np.all(_colours(image) < threshold, axis=2)


def find_hot_and_cold(image: np.ndarray) -> NDArray[np.bool_]:
    """Find single pixels that differ from all their neighbours by more than noise and optics can explain.

    A pixel is hot or cold, in any channel, if it differs from the median of its neighbours by more than eight
    deviations of the noise at this brightness, and by more than three times as much as any neighbour does. The noise is
    estimated from how all pixels differ from their neighbours' median.
    """
    colours = _colours(image).astype(np.float64)
    finite = np.isfinite(colours)
    found = np.zeros(colours.shape[:2], dtype=bool)
    for channel, known in zip(np.moveaxis(colours, 2, 0), np.moveaxis(finite, 2, 0), strict=True):
        if not known.any():
            continue
        filled = np.where(known, channel, np.median(channel[known]))
        ground = ndimage.median_filter(filled, footprint=_ring(1)[:, :, 0], mode=_AT_BORDER)
        beyond = np.abs(filled - ground) > _BEYOND_NOISE * _noise_deviation(filled - ground, ground)
        found |= known & beyond & stand_alone(filled[:, :, None], ground[:, :, None])[:, :, 0]
    return found


def find_dead_lines(image: np.ndarray) -> NDArray[np.bool_]:
    """Find rows and columns that were not read out.

    A line is dead, in any channel, if all its pixels have the same value and most pixels of the lines beside it do not;
    or if it is much brighter, or much darker, than both its neighbours: by more than eight times as much as lines
    usually differ, and by more than 2% of the image's range.
    """
    colours = _colours(image).astype(np.float64)
    found = np.zeros(colours.shape[:2], dtype=bool)
    for channel in np.moveaxis(colours, 2, 0):
        found |= _dead_rows(channel)[:, None] | _dead_rows(channel.T)[None, :]
    return found


def typical_range(intensities: np.ndarray) -> tuple[float, float]:
    """Return the smallest and largest intensity, not stretched by outliers.

    Outliers lie farther beyond the 0.1 and 99.9 percentiles than these lie apart. The percentiles are values that
    occur in the image, not interpolated ones, so that a gain and an offset of whole numbers carry over to the bit.
    """
    smallest, largest = intensities.min(), intensities.max()
    low, high = np.quantile(intensities, [_OUTLYING, 1 - _OUTLYING], method="nearest")
    if high > low:
        smallest, largest = max(smallest, low - (high - low)), min(largest, high + (high - low))
    return float(smallest), float(largest)


def stand_alone(values: np.ndarray, ground: np.ndarray) -> NDArray[np.bool_]:
    """Return which values differ from the background more than three times as much as any of their eight neighbours.

    No optics can draw anything that sharp.

    Parameters
    ----------
    values : ndarray
        ``(h, w, c)``.
    ground : ndarray
        The background, in a shape that broadcasts: one value per channel, or one per pixel.
    """
    highest = ndimage.maximum_filter(values, footprint=_ring(values.ndim - 2), mode=_AT_BORDER)
    lowest = ndimage.minimum_filter(values, footprint=_ring(values.ndim - 2), mode=_AT_BORDER)
    neighbours = np.maximum(highest - ground, ground - lowest)
    return np.abs(values - ground) > _SHARPER_THAN_OPTICS * neighbours


def _colours(image: np.ndarray) -> np.ndarray:
    """Return the image as ``(h, w, c)`` without alpha.

    Raises
    ------
    ValueError
        If it is not a single plane of real numbers.
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise ValueError(f"image has shape {image.shape}; give one plane (h, w) or (h, w, c) with c = 1, 3 or 4.")
    if image.dtype.kind not in "buif":
        raise ValueError(f"image has dtype {image.dtype}; give real numbers (for a complex image, its magnitude).")
    return image[:, :, :3] if image.ndim == 3 else image[:, :, None]


def _ring(channel_axes: int) -> NDArray[np.bool_]:
    """Return the footprint of a pixel's eight neighbours."""
    ring = np.ones((3, 3) + (1,) * channel_axes, dtype=bool)
    ring[1, 1] = False
    return ring


def _noise_deviation(difference: NDArray[np.float64], ground: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the deviation of the noise at every pixel, as a function of the brightness there, ``(h, w)``."""
    order = np.argsort(ground, axis=None, kind="stable")
    bins = [part for part in np.array_split(order, _BINS) if part.size]
    differences, grounds = difference.ravel(), ground.ravel()
    deviations = np.array([np.median(np.abs(differences[part])) / _MAD_OF_NORMAL for part in bins])
    # where most pixels equal their neighbours, as with few photons, the median is 0 and says nothing
    spreads = np.array([np.sqrt(np.mean(differences[part] ** 2)) for part in bins])
    deviations = np.where(deviations > 0, deviations, spreads)
    deviations = np.maximum(deviations, np.median(deviations) / 2)
    return np.interp(ground, [grounds[part].mean() for part in bins], deviations)


def _dead_rows(channel: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which rows of ``(h, w)`` are dead, ``(h,)``."""
    height, width = channel.shape
    finite = channel[np.isfinite(channel)]
    if height < 3 or width < _SEVERAL or finite.size == 0:
        return np.zeros(height, dtype=bool)
    constant = (channel == channel[:, :1]).all(axis=1)
    dead = np.zeros(height, dtype=bool)
    runs, number = ndimage.label(constant)
    for run in range(1, number + 1):
        rows = np.flatnonzero(runs == run)
        beside = [row for row in (rows[0] - 1, rows[-1] + 1) if 0 <= row < height]
        values = channel[rows, 0]
        dead[rows] = bool(beside) and all(
            np.median(channel[row] == value) == 0 for row in beside for value in np.unique(values)
        )
    with np.errstate(invalid="ignore"):
        before = np.vstack([channel[1], channel[:-1]])
        after = np.vstack([channel[1:], channel[-2]])
        # a border line's missing neighbour is extrapolated from the next two lines, so that a slope is not a step
        after[0], before[-1] = 2 * channel[1] - channel[2], 2 * channel[-2] - channel[-3]
        steps = np.stack([_median_of_rows(channel - beside) for beside in (before, after)])
    curvature = steps.mean(axis=0)
    usual = np.median(np.abs(curvature)) / _MAD_OF_NORMAL
    low, high = typical_range(finite)
    far = np.abs(steps).min(axis=0) > max(_BEYOND_NOISE * usual, _LEAST_STEP * (high - low))
    return dead | (far & (np.sign(steps[0]) == np.sign(steps[1])))


def _median_of_rows(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of the finite values of each row, 0 if a row has none, ``(h,)``."""
    kept = np.where(np.isfinite(values), values, np.nan)
    medians = np.zeros(len(values))
    some = np.isfinite(kept).any(axis=1)
    medians[some] = np.nanmedian(kept[some], axis=1)
    return medians
