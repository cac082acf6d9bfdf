"""Image to tensor in [0, 1], and the exact way back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from .measurement.pixel_defects import stand_alone, typical_range

SMALLEST_SIDE = 16


@dataclass(frozen=True, slots=True)
class ImageTensor:
    """One image as the engine sees it, with all that is needed to return to the user's units.

    Attributes
    ----------
    values : Tensor
        ``(1, c, h, w)`` float32; known pixels lie in [0, 1] (extreme outliers beyond), missing ones are 0.
    known : Tensor
        ``(1, 1, h, w)`` bool, True where the pixel was measured. Hot and dead pixels were not.
    offset, scale : ndarray
        ``(c,)`` float64: intensity = offset + scale * value. The same for all colours; channels that are no colours
        have their own.
    original : ndarray
        ``(h, w)`` or ``(h, w, c)``, the image as given.
    has_alpha : bool
        Whether the last channel of the original is alpha, passed through.
    """

    values: torch.Tensor
    known: torch.Tensor
    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    original: NDArray
    has_alpha: bool = False

    def to_image(self, values: torch.Tensor) -> NDArray[np.float32]:
        """Return ``(1, c, h, w)`` values as float32 in the user's intensities and axes, alpha passed through.

        Values of a whole factor more rows and columns are welcome; each alpha pixel then becomes a square.
        """
        array = values.detach()[0].permute(1, 2, 0).cpu().double().numpy()
        image = (self.offset + self.scale * array).astype(np.float32)
        if self.original.ndim == 2:
            return image[:, :, 0]
        if self.has_alpha:
            factor = image.shape[0] // self.original.shape[0]
            alpha = self.original[:, :, 3:].repeat(factor, axis=0).repeat(factor, axis=1)
            return np.concatenate([image, alpha.astype(np.float32)], axis=2)
        return image

    def to_deviation(self, values: torch.Tensor) -> NDArray[np.float32]:
        """Return ``(1, c, h, w)`` deviations as float32 in the user's intensities and axes; that of alpha is 0."""
        array = self.scale * values.detach()[0].permute(1, 2, 0).cpu().double().numpy()
        if self.original.ndim == 2:
            return array[:, :, 0].astype(np.float32)
        return np.pad(array, ((0, 0), (0, 0), (0, self.original.shape[2] - array.shape[2]))).astype(np.float32)

    def to_residual(self, values: torch.Tensor) -> NDArray[np.float32]:
        """Return ``(1, c, h, w)`` differences as ``to_deviation`` does, NaN where pixels are missing."""
        image = self.to_deviation(values)
        missing = ~self.known[0, 0].cpu().numpy()
        image[missing, ...] = np.nan
        return image

    def keep_known(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the image with the known pixels as they were given."""
        known = self.known[0, 0].cpu().numpy()
        if self.original.ndim == 3:
            known = known[:, :, None]
        with np.errstate(invalid="ignore"):  # missing pixels may be NaN
            return np.where(known, self.original.astype(np.float32), image)


def to_tensor(
    image: NDArray,
    mask: NDArray | None = None,
    *,
    colours: bool = True,
    intensity_range: NDArray[np.float64] | None = None,
) -> ImageTensor:
    """Check an image and its mask, and bring the intensities to [0, 1].

    The scale is the range of the known intensities, except that extreme outliers (farther beyond the 0.1 and 99.9
    percentiles than these lie apart) do not stretch it. It is taken from values that occur in the image, so that an
    image of whole numbers gives the same tensor, to the bit, after any whole gain and offset.

    Such an outlier that also stands alone, farther from the image's median than three times any of its neighbours, is
    sharper than optics draw: a hot or dead pixel, which counts as missing. Small bright objects do not.

    Parameters
    ----------
    image : array
        ``(h, w)`` or ``(h, w, c)``, c = 1, 3 or 4 (the fourth is alpha); any real dtype. NaN and inf are missing.
    mask : array, optional
        ``(h, w)``, True where the pixel is missing.
    colours : bool
        Whether channels are colours of one light, with one scale (and alpha, as the fourth). If not, there may be any
        number of them and each has a scale of its own.
    intensity_range : array, optional
        ``(2, c)``, or ``(2, 1)`` for one scale: the lowest and highest intensities of the image that this one is a part
        of. By default they are this image's own.

    Raises
    ------
    ValueError, TypeError
        If the image or the mask cannot be used; the message says why.
    """
    image = np.asarray(image)
    if image.dtype == object or not (
        np.issubdtype(image.dtype, np.bool_) or np.issubdtype(image.dtype, np.integer)
        or np.issubdtype(image.dtype, np.floating)
    ):  # fmt: skip
        raise TypeError(f"image has dtype {image.dtype}; give real numbers (for a complex image, its magnitude).")
    if image.ndim not in (2, 3) or (colours and image.ndim == 3 and image.shape[2] not in (1, 3, 4)):
        raise ValueError(f"image has shape {image.shape}; give one plane (h, w) or (h, w, c) with c = 1, 3 or 4.")
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST_SIDE:
        raise ValueError(f"image is {height} x {width} pixels; at least {SMALLEST_SIDE} x {SMALLEST_SIDE} are needed.")
    has_alpha = colours and image.ndim == 3 and image.shape[2] == 4
    channels = image if image.ndim == 3 else image[:, :, None]
    channels = (channels[:, :, :3] if has_alpha else channels).astype(np.float64)
    known = np.isfinite(channels).all(axis=2)
    if mask is not None:
        mask = np.asarray(mask)
        if mask.shape != (height, width):
            raise ValueError(f"mask shape {mask.shape} does not match image ({height}, {width}).")
        known &= ~mask.astype(bool)
    if known.sum() < SMALLEST_SIDE:
        raise ValueError("the mask and the not-a-number pixels leave nothing of the image to learn from.")
    if intensity_range is None:
        intensity_range = find_intensity_range(channels[known], colours=colours)
    low, high = np.broadcast_to(intensity_range, (2, channels.shape[2]))
    known &= ~_hot(channels, known, low, high)
    values = np.where(known[:, :, None], (channels - low) / (high - low), 0.0)
    return ImageTensor(
        values=torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1)[None].contiguous(),
        known=torch.from_numpy(known)[None, None],
        offset=low,
        scale=high - low,
        original=image,
        has_alpha=has_alpha,
    )


def find_intensity_range(intensities: NDArray, *, colours: bool = True) -> NDArray[np.float64]:
    """Return the lowest and highest intensity, without extreme outliers, that become 0 and 1.

    Parameters
    ----------
    intensities : ndarray
        ``(n, c)``, finite.
    colours : bool
        Whether all channels have one scale.

    Returns
    -------
    ndarray
        ``(2, 1)``, or ``(2, c)`` for channels that are no colours.

    Raises
    ------
    ValueError
        If there is only one intensity.
    """
    parts = [intensities] if colours else list(intensities.T)
    ranges = np.array([typical_range(each) for each in parts]).T
    for number, (low, high) in enumerate(ranges.T):
        if not high > low:
            of = "" if len(parts) == 1 else f" of channel {number}"
            raise ValueError(f"all known pixels{of} have the same intensity ({low:g}); there is nothing to restore.")
    return ranges


def _hot(
    colours: NDArray[np.float64], known: NDArray[np.bool_], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which pixels are outliers that stand alone, in any channel, ``(h, w)``."""
    outlying = known[:, :, None] & ((colours < low) | (colours > high))
    if not outlying.any():
        return np.zeros_like(known)
    ground = np.median(colours[known], axis=0)
    alone = stand_alone(np.where(known[:, :, None], colours, ground), ground)
    return np.any(outlying & alone, axis=2)
