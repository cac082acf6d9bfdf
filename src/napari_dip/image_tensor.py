"""Convert an image to a tensor in [0, 1], and back to the image's units in float32."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from .measurement.neighbouring_planes import NeighbouringPlanes
from .measurement.pixel_defects import stand_alone, typical_range
from .pixel_type import as_dtype

SMALLEST_SIDE = 16
_LARGEST = 1e37  # largest intensity: results may exceed the image's range, and float32 ends at 3.4e38
_FEWEST_STEPS = 256  # of float32 within the image's range; every 16-bit image has them


@dataclass(frozen=True, slots=True)
class ImageTensor:
    """One image for the engine, with all that is needed to return to the user's units.

    Attributes
    ----------
    values : Tensor
        ``(1, c, h, w)`` float32; known pixels lie in [0, 1] (extreme outliers beyond), missing ones are 0.
    known : Tensor
        ``(1, 1, h, w)`` bool, True where the pixel was measured; hot and dead pixels count as not measured.
    offset, scale : ndarray
        ``(c,)`` float64: intensity = offset + scale * value. The same for all colours; other channels have their own.
    original : ndarray
        ``(h, w)`` or ``(h, w, c)``, the input image.
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

        If the values are enlarged by a whole factor, each alpha pixel becomes a square.
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
        """Return ``(1, c, h, w)`` deviations as float32 in the user's intensities and axes; alpha becomes 0."""
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
        """Return the image with its known pixels replaced by the input's, in float32."""
        known = self.known[0, 0].cpu().numpy()
        if self.original.ndim == 3:
            known = known[:, :, None]
        with np.errstate(invalid="ignore", over="ignore"):  # missing pixels may be anything
            return np.where(known, self.original.astype(np.float32), image)

    @property
    def is_rounded(self) -> bool:
        """Whether float32 rounds any known pixel: a whole number above 2**24."""
        if self.original.dtype.kind not in "ui" or self.original.dtype.itemsize < 4:
            return False
        known = self.original[self.known[0, 0].cpu().numpy()]
        return bool((as_dtype(known.astype(np.float32), known.dtype)[0] != known).any())


def read_arrays(
    image: ArrayLike, mask: ArrayLike | None = None, *, colours: bool = True
) -> tuple[np.ndarray, NDArray[np.bool_] | None]:
    """Return an image and its mask as plain arrays; the masked pixels of a masked array join the mask.

    Parameters
    ----------
    image : array
        ``(h, w)`` or ``(h, w, c)``. A pixel that is masked in any channel but alpha is missing.
    mask : array, optional
        ``(h, w)``, True where the pixel is missing.
    colours : bool
        As in ``to_tensor``.

    Raises
    ------
    TypeError, ValueError
        If they are not arrays of real numbers, or if their shapes do not match.
    """
    pixels = _as_array(image, "image")
    if pixels.dtype.kind not in "buif":
        raise TypeError(f"image has dtype {pixels.dtype}; give real numbers (for a complex image, its magnitude).")
    marks = None if mask is None else _as_array(mask, "mask")
    if marks is not None and marks.dtype.kind not in "buif":
        raise TypeError(f"mask has dtype {marks.dtype}; give True where a pixel is missing and False elsewhere.")
    if marks is not None and marks.shape != pixels.shape[:2]:
        raise ValueError(f"mask shape {marks.shape} does not match image {pixels.shape[:2]}.")
    missing = None if marks is None else np.asarray(np.ma.filled(marks, True)) != 0  # a masked mark counts as missing
    if np.ma.is_masked(pixels) and pixels.ndim in (2, 3):  # other shapes are refused anyway
        hidden = np.ma.getmaskarray(pixels)
        if pixels.ndim == 3:
            hidden = np.any(hidden[:, :, :3] if colours else hidden, axis=2)
        missing = hidden if missing is None else missing | hidden
    return np.asarray(pixels), missing


def as_plain_array(argument: Any, name: str) -> np.ndarray:
    """Return a caller's argument as a plain array, or raise a TypeError that names the argument."""
    return np.asarray(_as_array(argument, name))


def _as_array(argument: Any, name: str) -> np.ndarray:
    """Do the same, but keep a masked array masked."""
    try:
        # compute, because numpy's conversion of a dask array drops its mask
        return np.asanyarray(argument.compute() if hasattr(argument, "compute") else argument)
    except (TypeError, ValueError, RuntimeError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise TypeError(f"{name} is not an array: {first_line}.") from error


def to_tensor(
    image: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    colours: bool = True,
    intensity_range: NDArray[np.float64] | None = None,
) -> ImageTensor:
    """Check an image and its mask, and scale the intensities to [0, 1].

    The known intensities set the scale, but extreme outliers (farther beyond the 0.1 and 99.9 percentiles than these
    lie apart) do not stretch it. The limits are values that occur in the image, so that an image of whole numbers gives
    the same tensor, to the bit, after any whole gain and offset.

    An outlier that also stands alone, more than three times as far from the image's median as any of its neighbours, is
    sharper than optics can draw: a hot or dead pixel, which counts as missing. Small bright objects are not.

    Parameters
    ----------
    image : array
        ``(h, w)`` or ``(h, w, c)``, c = 1, 3 or 4 (the fourth is alpha); any real dtype. NaN, inf and the masked pixels
        of a masked array are missing. The array is not changed.
    mask : array, optional
        ``(h, w)``, True where the pixel is missing.
    colours : bool
        Whether the channels are colours (RGB), with one scale (and alpha as the fourth). If not, there may be any
        number of them, each with its own scale.
    intensity_range : array, optional
        ``(2, c)``, or ``(2, 1)`` for one scale: the lowest and highest intensities, if the image is a part of a larger
        one. By default the image's own.

    Raises
    ------
    ValueError, TypeError
        If the image or the mask cannot be used; the message says why.
    """
    image, mask = read_arrays(image, mask, colours=colours)
    check_shape(image.shape, colours=colours)
    has_alpha = colours and image.ndim == 3 and image.shape[2] == 4
    channels = image if image.ndim == 3 else image[:, :, None]
    intensities = channels[:, :, :3] if has_alpha else channels
    known = np.isfinite(intensities).all(axis=2)
    if mask is not None:
        known &= ~mask
    if not known.any():
        raise ValueError("every pixel is masked or NaN; mark fewer pixels as missing.")
    if known.sum() < SMALLEST_SIDE:
        raise ValueError("the mask and the NaN pixels leave nothing to learn from; mark fewer pixels as missing.")
    check_size(intensities[known])
    if intensity_range is None:
        intensity_range = find_intensity_range(intensities[known], colours=colours)
    low, high = np.broadcast_to(intensity_range, (2, intensities.shape[2]))
    with np.errstate(over="ignore"):  # missing pixels may overflow
        channels = intensities.astype(np.float64)
    known &= ~_find_hot_pixels(channels, known, low, high)
    values = (np.where(known[:, :, None], channels, low) - low) / (high - low)
    return ImageTensor(
        values=torch.from_numpy(values.astype(np.float32)).permute(2, 0, 1)[None].contiguous(),
        known=torch.from_numpy(known)[None, None],
        offset=low,
        scale=high - low,
        original=image,
        has_alpha=has_alpha,
    )


def scale_neighbours(
    tensor: ImageTensor,
    planes: Sequence[tuple[np.ndarray, NDArray[np.bool_] | None]],
    place: int,
    *,
    colours: bool = True,
) -> NeighbouringPlanes | None:
    """Return a plane with its neighbours, scaled as it is; None if no neighbour can be used.

    A neighbour that has no known pixels, or none that can be used, is left out.

    Parameters
    ----------
    tensor : ImageTensor
        The plane.
    planes : sequence of (ndarray, ndarray or None)
        Its neighbours in order: image and mask, as for ``to_tensor``.
    place : int
        How many of them come before it.
    colours : bool
        As in ``to_tensor``.
    """
    before: list[ImageTensor] = []
    after: list[ImageTensor] = []
    for number, (image, mask) in enumerate(planes):
        with contextlib.suppress(ValueError):
            intensity_range = np.stack([tensor.offset, tensor.offset + tensor.scale])
            scaled = to_tensor(image, mask, colours=colours, intensity_range=intensity_range)
            (before if number < place else after).append(scaled)
    if not (before or after):
        return None
    all_planes = [*before, tensor, *after]
    values, known = (torch.cat([getattr(each, name) for each in all_planes]) for name in ("values", "known"))
    return NeighbouringPlanes(values, known, len(before))


def check_shape(shape: tuple[int, ...], *, colours: bool = True) -> None:
    """Raise a ValueError if a shape is not that of one plane, or is too small.

    Parameters
    ----------
    shape : tuple of int
    colours : bool
        As in ``to_tensor``.
    """
    if len(shape) not in (2, 3) or (colours and len(shape) == 3 and shape[2] not in (1, 3, 4)):
        raise ValueError(f"image has shape {shape}; give one plane (h, w) or (h, w, c) with c = 1, 3 or 4.")
    if 0 in shape[2:]:
        raise ValueError(f"image has shape {shape}: there is nothing in it.")
    if min(shape[:2]) < SMALLEST_SIDE:
        raise ValueError(
            f"image is {shape[0]} x {shape[1]} pixels; at least {SMALLEST_SIDE} x {SMALLEST_SIDE} are needed."
        )


def check_size(intensities: np.ndarray) -> None:
    """Raise a ValueError if intensities are too large for float32, the type of the results.

    Parameters
    ----------
    intensities : ndarray
        ``(n, c)``, finite, at least one.
    """
    # Python's numbers, because numpy's smallest int64 has no absolute value
    largest = max(abs(intensities.min().item()), abs(intensities.max().item()))
    if largest > _LARGEST:
        raise ValueError(
            f"the image's intensities reach {largest:.3g}, too large for float32, the type of the results: divide the "
            f"image so that they stay below {_LARGEST:g}, or mark those pixels as missing."
        )


def find_intensity_range(intensities: np.ndarray, *, colours: bool = True) -> NDArray[np.float64]:
    """Return the intensities that become 0 and 1: the lowest and highest, without extreme outliers.

    Parameters
    ----------
    intensities : ndarray
        ``(n, c)``, finite, in the image's own dtype.
    colours : bool
        Whether all channels share one scale.

    Returns
    -------
    ndarray
        ``(2, 1)``, or ``(2, c)`` for channels that are not colours.

    Raises
    ------
    ValueError
        If there is only one intensity, or float32 has too few steps between the two.
    """
    parts = [intensities] if colours else list(intensities.T)
    ranges = np.array([typical_range(each.astype(np.float64)) for each in parts]).T
    for number, (low, high) in enumerate(ranges.T):
        where = "" if len(parts) == 1 else f" in channel {number}"
        # in the image's own type: float64 may not tell them apart
        lowest, highest = parts[number].min().item(), parts[number].max().item()
        if highest == lowest:
            raise ValueError(f"all known pixels{where} have the same intensity ({low:g}); there is nothing to restore.")
        largest = max(abs(low), abs(high))
        if high - low < _FEWEST_STEPS * float(np.spacing(np.float32(min(largest, _LARGEST)))):
            ground = f"{low:.10g}" if intensities.dtype.kind == "f" else int(lowest)
            tiny = largest < np.finfo(np.float32).tiny
            advice = "multiply the image" if tiny else f"subtract {ground} from the image"
            raise ValueError(
                f"the intensities of the image{where} span only {highest - lowest:.3g} at about {largest:.3g}, and "
                f"float32, the type of the results, can hardly tell them apart: {advice} first."
            )
    return ranges


def _find_hot_pixels(
    colours: NDArray[np.float64], known: NDArray[np.bool_], low: NDArray[np.float64], high: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which pixels are outliers that stand alone in any channel, ``(h, w)``."""
    outlying = known[:, :, None] & ((colours < low) | (colours > high))
    if not outlying.any():
        return np.zeros_like(known)
    ground = np.median(colours[known], axis=0)
    alone = stand_alone(np.where(known[:, :, None], colours, ground), ground)
    hot: NDArray[np.bool_] = np.any(outlying & alone, axis=2)
    return hot
