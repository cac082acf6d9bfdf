"""A stack: its pixels, read when they are asked for, what its file says of them, and which are missing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..image_files import check_memory, say_why
from .axes import Axes, Plane

SHORT_UNITS = {
    "micrometer": "µm", "nanometer": "nm", "picometer": "pm", "millimeter": "mm", "centimeter": "cm", "meter": "m",
    "second": "s", "millisecond": "ms", "minute": "min", "hour": "h", "micron": "µm", "um": "µm", "μm": "µm",
    "angstrom": "Å",
}  # fmt: skip
LONG_UNITS = {short: long for long, short in reversed(SHORT_UNITS.items())}


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
    is_alone : bool
        Whether it is a single image, and is written as one: no ImageJ stack, but PNG, too.
    """

    array: Any
    axes: str | None
    channel_names: tuple[str, ...] = ()
    pixel_sizes: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    is_alone: bool = False

    @property
    def distances(self) -> dict[str, tuple[float, str]]:
        """The distance of two pixels, planes or frames and its unit, by letter."""
        return {
            letter: (size, self.units.get(letter, "s" if letter == "T" else "µm"))
            for letter, size in self.pixel_sizes.items()
        }


class UnreadablePixels(ValueError):
    """Pixels of a file, of which others may be whole, cannot be read."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskedStack:
    """A stack whose planes are restored, and which of its pixels are missing.

    Attributes
    ----------
    array : array
        Indexed, it reads the parts that it is asked for.
    axes : Axes
    mask : array or None
        Not 0 = missing: of one plane, or of the stack, with or without its channels.

    Raises
    ------
    ValueError
        If the mask does not go with the axes.
    """

    array: Any
    axes: Axes
    mask: Any = None

    def __post_init__(self) -> None:
        if self.mask is not None:
            self.axes.check_mask(tuple(self.mask.shape))

    def read(self, plane: Plane, rows: slice = slice(None), columns: slice = slice(None)) -> NDArray:
        """Read a plane, or a part of it, as ``Axes.read`` does; where that fails, say which plane it is."""
        try:
            return self.axes.read(self.array, plane, rows, columns)
        except UnreadablePixels as error:
            raise of_plane(error, plane) from error

    def read_mask(
        self, plane: Plane, rows: slice = slice(None), columns: slice = slice(None)
    ) -> NDArray[np.bool_] | None:
        """Read the mask of a plane, or a part of it; None if there is none."""
        return None if self.mask is None else self.axes.read_mask(self.mask, plane, rows, columns)


def of_plane(error: Exception, plane: Plane) -> Exception:
    """Return the same error, with a sentence that says which plane it is about."""
    place = plane.describe()
    return type(error)(f"plane {place}: {error}" if place else str(error))


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
