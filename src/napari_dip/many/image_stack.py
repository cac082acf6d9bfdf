"""A stack: its pixels, which are read on demand, its metadata, and its mask."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..image_files import check_memory, say_why
from ..request import Neighbours
from .axes import Axes, Plane

SHORT_UNITS = {
    "micrometer": "µm", "nanometer": "nm", "picometer": "pm", "millimeter": "mm", "centimeter": "cm", "meter": "m",
    "second": "s", "millisecond": "ms", "minute": "min", "hour": "h", "micron": "µm", "um": "µm", "μm": "µm",
    "angstrom": "Å",
}  # fmt: skip
PLANES_TOGETHER = 5  # that help one another: a plane and two on each side
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

    If planes help one another, the last few that were read stay in memory, so that each is read once.

    Attributes
    ----------
    array : array
        Indexing reads the requested part.
    axes : Axes
    mask : array or None
        Not 0 where pixels are missing; for one plane, or for the stack with or without its channels.
    neighbours : str or None
        The letter of the axis along which planes help one another.

    Raises
    ------
    ValueError
        If the mask does not match the axes.
    """

    array: Any
    axes: Axes
    mask: Any = None
    neighbours: str | None = None
    _recent: OrderedDict[tuple[int, ...], np.ndarray] = field(default_factory=OrderedDict, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.mask is not None:
            self.axes.check_mask(tuple(self.mask.shape))

    def read(self, plane: Plane, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
        """Read a plane, or a part of it, as ``Axes.read`` does; an error names the plane."""
        is_whole, is_in_memory = rows == columns == slice(None), isinstance(self.array, np.ndarray)
        is_kept = self.neighbours is not None and is_whole and not is_in_memory
        key = tuple(plane.place.values())
        if is_kept and key in self._recent:
            self._recent.move_to_end(key)
            return self._recent[key]
        try:
            pixels = self.axes.read(self.array, plane, rows, columns)
        except UnreadablePixels as error:
            raise name_plane(error, plane) from error
        if is_kept:
            self._recent[key] = pixels
            while len(self._recent) > PLANES_TOGETHER:
                self._recent.popitem(last=False)
        return pixels

    def read_neighbours(
        self, plane: Plane, rows: slice = slice(None), columns: slice = slice(None)
    ) -> Neighbours | None:
        """Read the planes around a plane, or a part of them, with their masks; those that cannot be read are left out.

        There are as many near an end of the stack, then with more on one side. None if planes do not help one another.
        """
        if self.neighbours is None:
            return None
        own = plane.place[self.neighbours]
        found, before = [], 0
        for other in self.axes.planes_around(plane, self.neighbours, PLANES_TOGETHER):
            number = other.place[self.neighbours]
            if number == own:
                continue
            try:
                pixels = self.read(other, rows, columns)
            except UnreadablePixels:  # restoring that plane itself will say so
                continue
            found.append((pixels, self.read_mask(other, rows, columns)))
            before += number < own
        return Neighbours(tuple(found), before, self.neighbours) if found else None

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
