"""Convert a restored image to another pixel type: round, clip, and count the clipped pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray


def as_dtype(image: ArrayLike, dtype: DTypeLike) -> tuple[np.ndarray, int]:
    """Convert an image to another pixel type, and count the pixels that had to be clipped.

    Parameters
    ----------
    image : array
        ``(h, w)`` or ``(h, w, c)``, such as ``Restoration.restored``.
    dtype : dtype
        Whole numbers: values are rounded to the nearest and clipped to the type's range. Floating point: values beyond
        the type's range are clipped. bool: 0.5 and above is True; nothing is clipped.

    Returns
    -------
    converted : ndarray
    clipped : int
        Number of pixels with any clipped channel.

    Raises
    ------
    TypeError, ValueError
        If the image or the type is not of real numbers, or if pixels are NaN or infinite and the type cannot hold that.
    """
    image, dtype = np.asarray(image), _find_dtype(dtype)
    if image.dtype.kind not in "buif":
        raise TypeError(f"the image has dtype {image.dtype}; give real numbers.")
    if dtype.kind not in "buif":
        raise TypeError(f"the pixel type {dtype} is not of real numbers; choose one such as uint16 or float32.")
    if dtype == image.dtype:
        return image, 0
    if dtype.kind != "f" and not np.isfinite(image).all():
        raise ValueError(f"some pixels are NaN or infinite, which {dtype} cannot hold; keep float32.")
    if dtype.kind == "b":
        return image >= 0.5, 0
    if dtype.kind in "ui" and image.dtype.kind in "bui":
        return _convert_integers(image, dtype)
    limits = np.iinfo(dtype) if dtype.kind in "ui" else np.finfo(dtype)
    exact = image.astype(np.result_type(image.dtype, np.float64))  # float64, or long double for long double
    wanted = np.rint(exact) if dtype.kind in "ui" else exact
    # float64 cannot tell the largest 64-bit integer from the next: values that reach the limit are set to it
    low, high = wanted <= float(limits.min), wanted >= float(limits.max)
    low, high = low & np.isfinite(wanted), high & np.isfinite(wanted)
    converted = np.where(low | high, 0, wanted).astype(dtype)
    converted[low], converted[high] = limits.min, limits.max
    clipped = (low & (wanted < float(limits.min))) | (high & (wanted > float(limits.max)))
    return converted, _count_pixels(clipped)


def _find_dtype(name: DTypeLike) -> np.dtype:
    try:
        if name is None:  # numpy would take it for float64
            raise TypeError
        return np.dtype(name)
    except TypeError as error:
        raise TypeError(f"there is no pixel type {name!r}; choose one such as uint16 or float32.") from error


def _convert_integers(image: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, int]:
    """Convert without going through floating point, which cannot hold every 64-bit integer."""
    limits = np.iinfo(dtype)
    image = image.astype(np.uint8) if image.dtype.kind == "b" else image
    low, high = image < limits.min, image > limits.max
    converted = np.where(low | high, image.dtype.type(0), image).astype(dtype)
    converted[low], converted[high] = limits.min, limits.max
    return converted, _count_pixels(low | high)


def _count_pixels(clipped: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(clipped.any(axis=2) if clipped.ndim == 3 else clipped))
