"""A stack as a file describes it: its pixels, read when they are asked for, and what they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..image_files import check_memory, say_why

SHORT_UNITS = {
    "micrometer": "µm", "nanometer": "nm", "picometer": "pm", "millimeter": "mm", "centimeter": "cm", "meter": "m",
    "second": "s", "millisecond": "ms", "minute": "min", "hour": "h", "micron": "µm", "um": "µm", "μm": "µm",
    "angstrom": "Å",
}  # fmt: skip
LONG_UNITS = {
    "µm": "micrometer",
    "nm": "nanometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "pm": "picometer",
    "m": "meter",
    "Å": "angstrom",
    "s": "second",
    "ms": "millisecond",
    "min": "minute",
    "h": "hour",
}


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """An image of any number of axes, and what its file says of it.

    Attributes
    ----------
    array : array
        Indexed, it reads the parts that it is asked for.
    axes : str or None
        One letter for each axis; None where the file does not say.
    channel_names : tuple of str
        May be empty.
    pixel_sizes : dict
        By letter: the distance of two pixels, planes or frames.
    units : dict
        Of these, by letter, as OME-TIFF has them ("µm", "s").
    """

    array: Any
    axes: str | None
    channel_names: tuple[str, ...] = ()
    pixel_sizes: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)


class UnreadablePixels(ValueError):
    """Pixels of a file, of which others may be whole, cannot be read."""


class FilePixels:
    """The pixels of a file, read when they are asked for; where they cannot be, ``UnreadablePixels`` says so.

    Parameters
    ----------
    array : array
        Of one of the libraries that read files.
    path : Path
    """

    def __init__(self, array: Any, path: Path) -> None:
        self._array, self._path = array, path
        self.shape = tuple(int(length) for length in array.shape)
        self.dtype = np.dtype(array.dtype)

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> NDArray:
        try:
            return np.asarray(self._array[index])
        except Exception as error:  # the readers raise many kinds of their own
            raise UnreadablePixels(f"these pixels of {self._path} cannot be read: {say_why(error)}") from error

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray:
        return np.asarray(self[...], dtype=dtype)


def as_size(value: Any) -> float | None:
    """Return what a file gives as the size of a pixel; None of what cannot be one."""
    try:
        size = float(value)
    except (TypeError, ValueError):
        return None
    return size if math.isfinite(size) and size > 0 else None


def check_pixels(array: Any, axes: str | None) -> None:
    """Check that an array holds real numbers, and that a plane of it fits into the memory.

    Raises
    ------
    ValueError
        If not, in half a sentence.
    """
    if np.dtype(array.dtype).kind not in "buif":
        raise ValueError(f"its pixels are {array.dtype}, not real numbers")
    letters = axes or "YX".rjust(len(array.shape), "?")
    check_memory(math.prod(length for letter, length in zip(letters, array.shape, strict=True) if letter in "YXS"))
