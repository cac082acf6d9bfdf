"""A stack: its pixels, which are read on demand, its metadata, and its mask."""

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
    """An image with any number of axes, and the metadata of its file.

    Attributes
    ----------
    array : array
        Indexing reads the requested part.
    axes : str or None
        One letter per axis; None if the file does not name them.
    channel_names : tuple of str
        May be empty.
    pixel_sizes : dict
        By letter: the distance between pixels, z-slices or frames.
    units : dict
        By letter: the unit of the pixel size as in OME-TIFF ("µm", "s").
    is_single : bool
        Whether it is a single image and is written as one: not as an ImageJ stack, and possibly as PNG.
    """

    array: Any
    axes: str | None
    channel_names: tuple[str, ...] = ()
    pixel_sizes: Mapping[str, float] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    is_single: bool = False

    @property
    def distances(self) -> dict[str, tuple[float, str]]:
        """By letter: the distance between pixels, z-slices or frames, and its unit."""
        return {
            letter: (size, self.units.get(letter, "s" if letter == "T" else "µm"))
            for letter, size in self.pixel_sizes.items()
        }


class UnreadablePixels(ValueError):
    """Some pixels of a file cannot be read; others may be intact."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskedStack:
    """A stack to restore, with the mask of its missing pixels.

    Attributes
    ----------
    array : array
        Indexing reads the requested part.
    axes : Axes
    mask : array or None
        Not 0 where pixels are missing; for one plane, or for the stack with or without its channels.

    Raises
    ------
    ValueError
        If the mask does not match the axes.
    """

    array: Any
    axes: Axes
    mask: Any = None

    def __post_init__(self) -> None:
        if self.mask is not None:
            self.axes.check_mask(tuple(self.mask.shape))

    def read(self, plane: Plane, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
        """Read a plane, or a part of it, as ``Axes.read`` does; an error names the plane."""
        try:
            return self.axes.read(self.array, plane, rows, columns)
        except UnreadablePixels as error:
            raise name_plane(error, plane) from error

    def read_mask(
        self, plane: Plane, rows: slice = slice(None), columns: slice = slice(None)
    ) -> NDArray[np.bool_] | None:
        """Read the mask of a plane, or a part of it; None if there is none."""
        return None if self.mask is None else self.axes.read_mask(self.mask, plane, rows, columns)


def name_plane(error: Exception, plane: Plane) -> Exception:
    """Return the same error with the plane named in its message."""
    place = plane.describe()
    return type(error)(f"plane {place}: {error}" if place else str(error))


class FilePixels:
    """The pixels of a file, read on demand; if that fails, ``UnreadablePixels`` is raised.

    Parameters
    ----------
    array : array
        As a file-reading library returns it.
    path : Path
    """

    def __init__(self, array: Any, path: Path) -> None:
        self._array, self._path = array, path
        self.shape = tuple(int(length) for length in array.shape)
        self.dtype = np.dtype(array.dtype)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        try:
            return np.asarray(self._array[index])
        except Exception as error:  # the libraries raise many exceptions of their own
            raise UnreadablePixels(f"some pixels of {self._path} cannot be read: {say_why(error)}") from error

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype=dtype)


def read_size(value: Any) -> float | None:
    """Return a file's value for the pixel size as a number; None if it cannot be a size."""
    try:
        size = float(value)
    except (TypeError, ValueError):
        return None
    return size if math.isfinite(size) and size > 0 else None


def check_pixels(array: Any, axes: str | None) -> None:
    """Check that an array holds real numbers and that one plane fits into memory.

    Raises
    ------
    ValueError
        If not; the message continues a sentence.
    """
    if np.dtype(array.dtype).kind not in "buif":
        raise ValueError(f"its pixels are {array.dtype}, not real numbers")
    letters = axes or "YX".rjust(len(array.shape), "?")
    check_memory(math.prod(length for letter, length in zip(letters, array.shape, strict=True) if letter in "YXS"))
