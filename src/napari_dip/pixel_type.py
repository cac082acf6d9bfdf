"""A restored image in another pixel type: rounded and clipped, and how many pixels that cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray


def as_dtype(image: ArrayLike, dtype: DTypeLike) -> tuple[np.ndarray, int]:
    """Return an image in another type, and how many of its pixels had to be clipped.

    Parameters
    ----------
    image : array
        ``(h, w)`` or ``(h, w, c)``, such as ``Restoration.restored``.
    dtype : dtype
        Of whole numbers: values are rounded to the nearest, and clipped to what the type can hold. Of floating point:
        values are clipped to its largest, if need be. bool: 0.5 and above is True, nothing is clipped.

    Returns
    -------
    converted : ndarray
    clipped : int
        Pixels, of which any channel was clipped.

    Raises
    ------
    TypeError, ValueError
        If the type is of no real numbers, or whole numbers cannot hold what is not a number.
    """
    image, dtype = np.asarray(image), _find_dtype(dtype)
    if image.dtype.kind not in "buif":
        raise TypeError(f"the image has dtype {image.dtype}; give real numbers.")
    if dtype.kind not in "buif":
        raise TypeError(f"the pixel type {dtype} is not of real numbers; choose one such as uint16 or float32.")
    if dtype == image.dtype:
        return image, 0
    if dtype.kind != "f" and not np.isfinite(image).all():
        raise ValueError(f"some pixels are not a number, which {dtype} cannot hold; keep float32.")
    if dtype.kind == "b":
        return image >= 0.5, 0
    if dtype.kind in "ui" and image.dtype.kind in "bui":
        return _between_whole_numbers(image, dtype)
    limits = np.iinfo(dtype) if dtype.kind in "ui" else np.finfo(dtype)
    exact = image.astype(np.result_type(image.dtype, np.float64))  # float64, but of long double
    wanted = np.rint(exact) if dtype.kind in "ui" else exact
    # of 64 bits, float64 does not tell the largest from one more: reaching it counts as beyond, and is set to it
    low, high = wanted <= float(limits.min), wanted >= float(limits.max)
    low, high = low & np.isfinite(wanted), high & np.isfinite(wanted)
    converted = np.where(low | high, 0, wanted).astype(dtype)
    converted[low], converted[high] = limits.min, limits.max
    clipped = (low & (wanted < float(limits.min))) | (high & (wanted > float(limits.max)))
    return converted, _count_pixels(clipped)


def _find_dtype(name: DTypeLike) -> np.dtype:
    try:
        if name is None:  # for numpy, float64
            raise TypeError
        return np.dtype(name)
    except TypeError as error:
        raise TypeError(f"there is no pixel type {name!r}; choose one such as uint16 or float32.") from error


def _between_whole_numbers(image: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, int]:
    """Do so without a detour through floating point, which does not tell all whole numbers of 64 bits apart."""
    limits = np.iinfo(dtype)
    image = image.astype(np.uint8) if image.dtype.kind == "b" else image
    low, high = image < limits.min, image > limits.max
    converted = np.where(low | high, image.dtype.type(0), image).astype(dtype)
    converted[low], converted[high] = limits.min, limits.max
    return converted, _count_pixels(low | high)


def _count_pixels(clipped: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(clipped.any(axis=2) if clipped.ndim == 3 else clipped))
