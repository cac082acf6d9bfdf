"""The point spread function h: what a point looks like through the microscope; where it comes from, and its checks.

The optics are computed here: in focus they are closed forms, and a pixel is an area. The libraries ``psf`` and
``psf-generator`` give values at points, and the latter depends on torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal, special

LARGEST_SIDE = 255  # pixels
_NEGLIGIBLE = 1e-4  # of the peak; outer rows and columns below it are cut off
_DIGITS = 6  # that are kept, so that a record holds the very numbers that were used
_TIE = 1e-3  # pixels: a centre of mass between two pixels belongs to the first
_SAMPLES = 5  # along each side of a pixel
_LAST_RING = 25.0  # optical units, to which an Airy pattern is drawn: 97.5% of its light
_ABOVE_NOISE = 3.0  # standard errors of a ring's mean, where a bead ends in the noise
_FAINTEST = 1e-3  # of a bead's peak, where it ends without noise


def read_psf(psf: Any) -> NDArray[np.float64]:
    """Check a PSF, and centre it.

    Each channel's centre of mass moves to the middle pixel, by whole pixels, so that the restored image does not move.
    Both sides become odd.

    Parameters
    ----------
    psf : array
        ``(k, l)``, or ``(k, l, c)`` with one for each channel; any real dtype, not negative. Its sum does not matter.

    Returns
    -------
    ndarray
        ``(k, l)`` or ``(k, l, c)`` with odd k and l; each channel has a maximum of 1.

    Raises
    ------
    ValueError, TypeError
        If it is no PSF; the message says why.
    """
    try:
        values = np.asarray(psf)
    except (TypeError, ValueError) as error:
        raise TypeError(f"psf is not an array: {error}") from error
    if values.dtype.kind not in "buif":
        raise TypeError(f"psf has dtype {values.dtype}; give real numbers.")
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise ValueError(f"psf has shape {values.shape}; give (k, l), or (k, l, c) with one PSF for each channel.")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("psf has NaN or infinite values; replace them, by 0 for example.")
    if values.min() < 0:
        raise ValueError("psf has negative values, but light adds up: subtract its background, then set the rest to 0.")
    channels = np.atleast_3d(values)
    peaks = channels.max(axis=(0, 1))
    if not peaks.all():
        where = "" if values.ndim == 2 else f" in channel {int(np.argmin(peaks))}"
        raise ValueError(f"psf is 0 everywhere{where}; give an image of a point.")
    channels = channels / peaks
    centres = [_find_centre(channels[..., number]) for number in range(channels.shape[2])]
    reach = [0, 0]
    for number, centre in enumerate(centres):
        for axis in (0, 1):
            counts = np.flatnonzero(channels[..., number].max(axis=1 - axis) >= _NEGLIGIBLE)
            reach[axis] = max(reach[axis], centre[axis] - int(counts[0]), int(counts[-1]) - centre[axis])
    if max(reach) > LARGEST_SIDE // 2:
        sides = " x ".join(str(2 * each + 1) for each in reach)
        raise ValueError(
            f"psf reaches over {sides} pixels; at most {LARGEST_SIDE} x {LARGEST_SIDE} can be used. Cut it to the part "
            "around its peak, with the background subtracted."
        )
    centred = np.zeros((2 * reach[0] + 1, 2 * reach[1] + 1, channels.shape[2]))
    for number, centre in enumerate(centres):
        rows, columns = (
            slice(max(0, middle - far), middle + far + 1) for middle, far in zip(centre, reach, strict=True)
        )
        part = channels[rows, columns, number]
        top, left = (max(0, far - middle) for middle, far in zip(centre, reach, strict=True))
        centred[top : top + part.shape[0], left : left + part.shape[1], number] = part
    centred = np.array([float(f"{each:.{_DIGITS}g}") for each in centred.flat]).reshape(centred.shape)
    return centred if values.ndim == 3 else centred[..., 0]


def _find_centre(psf: NDArray[np.float64]) -> tuple[int, int]:
    """Return the pixel of the centre of mass of ``(k, l)``."""
    row, column = (float((psf.sum(axis=1 - axis) * np.arange(psf.shape[axis])).sum() / psf.sum()) for axis in (0, 1))
    return int(np.ceil(row - 0.5 - _TIE)), int(np.ceil(column - 0.5 - _TIE))


def optical_psf(
    numerical_aperture: float,
    wavelength: float,
    pixel_size: float,
    *,
    pinhole: float | None = None,
    excitation: float | None = None,
) -> NDArray[np.float64]:
    """Return the PSF of an ideal objective in focus: an Airy pattern, or a confocal microscope's.

    Real objectives are worse: prefer an image of a bead.

    Parameters
    ----------
    numerical_aperture : float
    wavelength : float
        Of the light that is seen, in nanometres.
    pixel_size : float
        In micrometres, in the sample.
    pinhole : float, optional
        A confocal microscope's, its diameter in Airy units; by default wide-field.
    excitation : float, optional
        The laser's wavelength in nanometres; needed with a pinhole.

    Returns
    -------
    ndarray
        ``(k, k)`` with k odd; its sum is 1.

    Raises
    ------
    ValueError
        If a number cannot be right.

    References
    ----------
    Born and Wolf: Principles of Optics, section 8.5.2 (scalar theory). Confocal, illumination times
    detection blurred by the pinhole: Wilson, Journal of Microscopy 244, 2011.
    """
    if not 0.01 <= numerical_aperture <= 2:
        raise ValueError(f"the numerical aperture is {numerical_aperture:g}; it is written on the objective, as 1.4.")
    for name, value in (("wavelength", wavelength), ("excitation", excitation)):
        if value is not None and not 100 <= value <= 10_000:
            raise ValueError(f"the {name} is {value:g}; give it in nanometres, such as 525.")
    if not 1e-4 <= pixel_size <= 100:
        raise ValueError(f"the pixel size is {pixel_size:g}; give it in micrometres in the sample, such as 0.065.")
    if (pinhole is None) != (excitation is None):
        raise ValueError("a confocal PSF needs both the pinhole, in Airy units, and the excitation wavelength.")
    if pinhole is not None and not 0 < pinhole <= 20:
        raise ValueError(f"the pinhole is {pinhole:g} Airy units wide; give a number up to 20, usually 1.")
    unit = wavelength / 1000 / (2 * math.pi * numerical_aperture * pixel_size)  # an optical unit, in pixels
    reach = max(1, math.ceil(_LAST_RING * unit))
    if reach > LARGEST_SIDE // 2:
        raise ValueError(
            f"with these optics a point spreads over {2 * reach + 1} pixels, and at most {LARGEST_SIDE} can be used: "
            "bin the image first, or check the pixel size."
        )
    fine = (np.arange((2 * reach + 1) * _SAMPLES) + 0.5) / _SAMPLES - reach - 0.5  # pixels from the middle
    radius = np.hypot(fine[:, None], fine)
    spread = _airy(radius / unit)
    if pinhole is not None and excitation is not None:
        airy_radius = 1.22 * math.pi * unit  # of the first dark ring, in pixels
        hole = (radius <= max(pinhole * airy_radius, 1 / _SAMPLES)).astype(float)
        seen = signal.fftconvolve(spread, hole, mode="same")
        spread = np.maximum(seen, 0) * _airy(radius / (unit * excitation / wavelength))
    side = 2 * reach + 1
    psf = spread.reshape(side, _SAMPLES, side, _SAMPLES).mean(axis=(1, 3))
    return psf / psf.sum()


def gaussian_psf(sigma: float) -> NDArray[np.float64]:
    """Return a Gaussian of deviation ``sigma``, in pixels, averaged over each pixel; ``(k, k)`` with k odd, sum 1.

    Raises
    ------
    ValueError
        If sigma is not positive, or too wide.
    """
    reach = math.ceil(4 * sigma) if 0 < sigma < LARGEST_SIDE else 0
    if not 0 < reach <= LARGEST_SIDE // 2:
        raise ValueError(f"the width of the PSF is {sigma:g} pixels; give a number above 0 and up to 31.")
    edges = np.arange(-reach, reach + 2) - 0.5
    line = np.diff(special.ndtr(edges / sigma))
    psf = np.outer(line, line)
    return psf / psf.sum()


def psf_of_bead(image: Any, zoom: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.float64]:
    """Make a PSF from an image of one bead, or of a PSF that lacks nothing but order.

    The background, the median of the image's border, is subtracted. The bead ends where the mean of a ring around its
    centre no longer stands out from the noise of the border; beyond, the PSF is 0.

    Parameters
    ----------
    image : array
        ``(k, l)``, any real dtype, with one bead and a dark border around it.
    zoom : (float, float)
        The image's pixel height and width in pixels of the image to restore.

    Returns
    -------
    ndarray
        ``(m, n)`` with odd m and n, centred to a fraction of a pixel; its sum is 1.

    Raises
    ------
    ValueError
        If no bead stands out, or it would be too large.
    """
    values = np.asarray(image)
    if values.ndim > 2:
        raise ValueError(
            f"the bead's image is a stack of shape {values.shape}, and a PSF with depth cannot be used, because each "
            "plane is restored by itself: take the plane in which the bead is in focus."
        )
    if values.dtype.kind not in "buif" or values.ndim != 2 or min(values.shape) < 3:
        raise ValueError(
            f"a PSF is made from an image of one bead, and this has shape {values.shape} and type {values.dtype}; it "
            "needs at least 3 x 3 real numbers."
        )
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("the image of the bead has NaN or infinite pixels; crop it to the bead.")
    border = np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])
    background = float(np.median(border))
    noise = float(np.median(np.abs(border - background))) / 0.6745
    light = values - background
    smooth = ndimage.gaussian_filter(light, 1.0)
    peak = np.unravel_index(np.argmax(smooth), smooth.shape)
    if smooth[peak] <= _ABOVE_NOISE * noise or light.max() <= 0:
        raise ValueError("no bead stands out from the background; choose an image of one bead, cropped around it.")
    rows, columns = np.indices(values.shape)
    radius = np.hypot(rows - peak[0], columns - peak[1])
    ring = np.rint(radius).astype(int)
    counts = np.bincount(ring.ravel())
    means = np.bincount(ring.ravel(), light.ravel()) / np.maximum(counts, 1)
    stands_out = means > np.maximum(_ABOVE_NOISE * noise / np.sqrt(np.maximum(counts, 1)), _FAINTEST * light.max())
    # the last ring that stands out, beyond dark rings of the pattern, but not one that does by chance
    inside = np.cumsum(stands_out) >= 0.5 * np.arange(1, len(stands_out) + 1)
    end = int(np.flatnonzero(stands_out & inside)[-1]) + 1 if stands_out[0] else 1
    light = np.where(ring < max(end, 1), np.maximum(light, 0), 0)
    total = light.sum()
    centre = [float((light * place).sum() / total) for place in (rows, columns)]
    reach = [math.ceil(each * max(end, 1)) for each in zoom]
    if max(reach) > LARGEST_SIDE // 2:
        raise ValueError(
            f"the bead would cover {2 * max(reach) + 1} pixels of the image, and at most {LARGEST_SIDE} can be used: "
            "check the pixel sizes, or crop the bead's image."
        )
    axes = [
        ((np.arange((2 * far + 1) * _SAMPLES) + 0.5) / _SAMPLES - far - 0.5) / each + middle
        for far, each, middle in zip(reach, zoom, centre, strict=True)
    ]
    fine = ndimage.map_coordinates(light, np.meshgrid(*axes, indexing="ij"), order=1)
    psf = fine.reshape(2 * reach[0] + 1, _SAMPLES, 2 * reach[1] + 1, _SAMPLES).mean(axis=(1, 3))
    return psf / psf.sum()


def join_psfs(psfs: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return one PSF for each channel, ``(k, l, c)``, from PSFs with odd sides, whose middles stay in the middle."""
    rows, columns = (max(psf.shape[axis] for psf in psfs) for axis in (0, 1))
    wide = [
        np.pad(psf, [((side - length) // 2,) * 2 for side, length in zip((rows, columns), psf.shape, strict=True)])
        for psf in psfs
    ]
    return np.stack(wide, axis=2)


def full_widths(psf: NDArray[np.float64]) -> tuple[float, float]:
    """Return the full width at half maximum of ``(k, l)`` along rows and columns through its peak, in pixels."""
    row, column = np.unravel_index(np.argmax(psf), psf.shape)
    return _full_width(psf[:, column]), _full_width(psf[row])


def _full_width(profile: NDArray[np.float64]) -> float:
    padded = np.pad(profile / profile.max(), 1)
    above = np.flatnonzero(padded >= 0.5)
    first, last = int(above[0]), int(above[-1])
    before = first - (padded[first] - 0.5) / (padded[first] - padded[first - 1])
    after = last + (padded[last] - 0.5) / (padded[last] - padded[last + 1])
    return float(after - before)


def _airy(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (2 J1(v) / v)², v in optical units."""
    v = np.maximum(distance, 1e-9)
    return (2 * special.j1(v) / v) ** 2
