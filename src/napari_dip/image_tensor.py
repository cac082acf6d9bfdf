"""Image to tensor in [0, 1], and the way back to the image's units, in float32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .measurement.pixel_defects import stand_alone, typical_range
from .pixel_type import as_dtype

SMALLEST_SIDE = 16
_LARGEST = 1e37  # that an intensity may be: results may lie beyond the image's range, and float32 ends at 3.4e38
_FEWEST_STEPS = 256  # of float32 within the image's range; every image of 16 bits has them


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
    original: np.ndarray
    has_alpha: bool = False

    def to_image(self, values: torch.Tensor) -> NDArray[np.float32]:
        """Return ``(1, c, h, w)`` values as float32 in the user's intensities and axes, alpha passed through.

        Values of a whole factor more rows and columns are welcome; each alpha pixel then becomes a square.
        """
        array = values.detach()[0].permute(1, 2, 0).cpu().double().numpy()
        image: NDArray[np.float32] = (self.offset + self.scale * array).astype(np.float32)
        if self.original.ndim == 2:
            return image[:, :, 0]
        if self.has_alpha:
            factor = image.shape[0] // self.original.shape[0]
            alpha = self.original[:, :, 3:].repeat(factor, axis=0).repeat(factor, axis=1)
            return np.concatenate([image, alpha.astype(np.float32)], axis=2)
        return image

    def to_deviation(self, values: torch.Tensor) -> NDArray[np.float32]:
        """Return ``(1, c, h, w)`` deviations as float32 in the user's intensities and axes; that of alpha is 0."""
        array: NDArray[np.float64] = self.scale * values.detach()[0].permute(1, 2, 0).cpu().double().numpy()
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
        """Return the image with the known pixels as they were given, in float32."""
        known = self.known[0, 0].cpu().numpy()
        if self.original.ndim == 3:
            known = known[:, :, None]
        with np.errstate(invalid="ignore", over="ignore"):  # missing pixels may be anything
            return np.where(known, self.original.astype(np.float32), image)

    @property
    def is_rounded(self) -> bool:
        """Whether float32 changes whole numbers among the known pixels: some that are larger than 2**24."""
        if self.original.dtype.kind not in "ui" or self.original.dtype.itemsize < 4:
            return False
        known = self.original[self.known[0, 0].cpu().numpy()]
        return bool((as_dtype(known.astype(np.float32), known.dtype)[0] != known).any())


def read_arrays(
    image: ArrayLike, mask: ArrayLike | None = None, *, colours: bool = True
) -> tuple[np.ndarray, NDArray[np.bool_] | None]:
    """Return an image and its mask as plain arrays; what is masked in a masked array becomes a part of the mask.

    Parameters
    ----------
    image : array
        ``(h, w)`` or ``(h, w, c)``. A pixel that is masked in any channel but alpha is missing.
    mask : array, optional
        ``(h, w)``, True where the pixel is missing.
    colours : bool
        As ``to_tensor`` takes it.

    Raises
    ------
    TypeError, ValueError
        If they are no arrays of real numbers, or do not go together.
    """
    given = _as_array(image, "image")
    if given.dtype.kind not in "buif":
        raise TypeError(f"image has dtype {given.dtype}; give real numbers (for a complex image, its magnitude).")
    marks = None if mask is None else _as_array(mask, "mask")
    if marks is not None and marks.dtype.kind not in "buif":
        raise TypeError(f"mask has dtype {marks.dtype}; give True where a pixel is missing, and else False.")
    if marks is not None and marks.shape != given.shape[:2]:
        raise ValueError(f"mask shape {marks.shape} does not match image {given.shape[:2]}.")
    missing = None if marks is None else np.asarray(np.ma.filled(marks, True)) != 0  # one that is masked is not known
    if np.ma.is_masked(given) and given.ndim in (2, 3):  # other shapes are refused, whatever is masked
        hidden = np.ma.getmaskarray(given)
        if given.ndim == 3:
            hidden = np.any(hidden[:, :, :3] if colours else hidden, axis=2)
        missing = hidden if missing is None else missing | hidden
    return np.asarray(given), missing


def as_plain_array(given: Any, name: str) -> np.ndarray:
    """Return what a caller has given as an array, or raise a TypeError that says which of the arguments is none."""
    return np.asarray(_as_array(given, name))


def _as_array(given: Any, name: str) -> np.ndarray:
    """Return the same; of a masked array it is one, too."""
    try:
        return np.asanyarray(given.compute() if hasattr(given, "compute") else given)  # by itself dask forgets masks
    except (TypeError, ValueError, RuntimeError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise TypeError(f"{name} is no array: {first_line}.") from error


def to_tensor(
    image: np.ndarray,
    mask: np.ndarray | None = None,
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
        ``(h, w)`` or ``(h, w, c)``, c = 1, 3 or 4 (the fourth is alpha); any real dtype. NaN, inf, and what is masked
        in a masked array are missing. It is not changed.
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
    image, mask = read_arrays(image, mask, colours=colours)
    check_shape(image.shape, colours=colours)
    has_alpha = colours and image.ndim == 3 and image.shape[2] == 4
    channels = image if image.ndim == 3 else image[:, :, None]
    given = channels[:, :, :3] if has_alpha else channels
    known = np.isfinite(given).all(axis=2)
    if mask is not None:
        known &= ~mask
    if known.sum() < SMALLEST_SIDE:
        raise ValueError("the mask and the not-a-number pixels leave nothing of the image to learn from.")
    check_size(given[known])
    if intensity_range is None:
        intensity_range = find_intensity_range(given[known], colours=colours)
    low, high = np.broadcast_to(intensity_range, (2, given.shape[2]))
    with np.errstate(over="ignore"):  # of what is not known
        channels = given.astype(np.float64)
    known &= ~_hot(channels, known, low, high)
    values = (np.where(known[:, :, None], channels, low) - low) / (high - low)
    return ImageTensor(
        values=torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1)[None].contiguous(),
        known=torch.from_numpy(known)[None, None],
        offset=low,
        scale=high - low,
        original=image,
        has_alpha=has_alpha,
    )


def check_shape(shape: tuple[int, ...], *, colours: bool = True) -> None:
    """Refuse with a ValueError what is not one plane of sufficient size.

    Parameters
    ----------
    shape : tuple of int
    colours : bool
        As ``to_tensor`` takes it.
    """
    if len(shape) not in (2, 3) or (colours and len(shape) == 3 and shape[2] not in (1, 3, 4)):
        raise ValueError(f"image has shape {shape}; give one plane (h, w) or (h, w, c) with c = 1, 3 or 4.")
    if 0 in shape[2:]:
        raise ValueError(f"image has shape {shape}: it has no channels, there is nothing in it.")
    if min(shape[:2]) < SMALLEST_SIDE:
        raise ValueError(
            f"image is {shape[0]} x {shape[1]} pixels; at least {SMALLEST_SIDE} x {SMALLEST_SIDE} are needed."
        )


def check_size(intensities: np.ndarray) -> None:
    """Refuse with a ValueError intensities that float32, in which results come, does not reach.

    Parameters
    ----------
    intensities : ndarray
        ``(n, c)``, finite, at least one.
    """
    # as Python's numbers: numpy's smallest int64 has no absolute value
    largest = max(abs(intensities.min().item()), abs(intensities.max().item()))
    if largest > _LARGEST:
        raise ValueError(
            f"the image's intensities reach {largest:.3g}, too large for float32, in which results come: divide "
            f"the image so that they stay below {_LARGEST:g}, or mark those pixels as missing."
        )


def find_intensity_range(intensities: np.ndarray, *, colours: bool = True) -> NDArray[np.float64]:
    """Return the lowest and highest intensity, without extreme outliers, that become 0 and 1.

    Parameters
    ----------
    intensities : ndarray
        ``(n, c)``, finite, of the image's own dtype.
    colours : bool
        Whether all channels have one scale.

    Returns
    -------
    ndarray
        ``(2, 1)``, or ``(2, c)`` for channels that are no colours.

    Raises
    ------
    ValueError
        If there is only one intensity, or float32 has too few steps between the two.
    """
    parts = [intensities] if colours else list(intensities.T)
    ranges = np.array([typical_range(each.astype(np.float64)) for each in parts]).T
    for number, (low, high) in enumerate(ranges.T):
        of = "" if len(parts) == 1 else f" in channel {number}"
        # as they were given: float64 may not tell them apart
        lowest, highest = parts[number].min().item(), parts[number].max().item()
        if highest == lowest:
            raise ValueError(f"all known pixels{of} have the same intensity ({low:g}); there is nothing to restore.")
        largest = max(abs(low), abs(high))
        if high - low < _FEWEST_STEPS * float(np.spacing(np.float32(min(largest, _LARGEST)))):
            ground = f"{low:.10g}" if intensities.dtype.kind == "f" else int(lowest)
            advice = "multiply it" if largest < np.finfo(np.float32).tiny else f"subtract {ground} from it"
            raise ValueError(
                f"the intensities of the image{of} span {highest - lowest:.3g} at about {largest:.3g}, where float32, "
                f"in which results come, tells hardly any of them apart: {advice} first."
            )
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
    hot: NDArray[np.bool_] = np.any(outlying & alone, axis=2)
    return hot
