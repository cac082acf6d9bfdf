"""The axes of a stack, and its planes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Channels = Literal["apart", "together"]


@dataclass(frozen=True, slots=True)
class Plane:
    """One plane of a stack, the unit of a restoration.

    Attributes
    ----------
    index : tuple
        Its index in the array: an integer for every axis that is stepped through, a slice for every other.
    place : dict
        The same by letter: the integer along each axis that is stepped through.
    """

    index: tuple[int | slice, ...]
    place: Mapping[str, int]

    def describe(self) -> str:
        """Return the place as text, such as "T 3, C 0"; empty if the image has only one plane."""
        return ", ".join(f"{letter} {number}" for letter, number in self.place.items())

    def seen_from(self, start: Sequence[int]) -> Plane:
        """Return the plane with its index in a part of the stack that begins at these numbers."""
        index = tuple(at if isinstance(at, slice) else at - first for at, first in zip(self.index, start, strict=True))
        return replace(self, index=index)


@dataclass(frozen=True, slots=True)
class Axes:
    """The axes of a stack.

    Attributes
    ----------
    letters : str
        One per axis: Y and X are rows and columns, S is colour (3, or 4 with alpha), C is channels; T, Z and any other
        letter are stepped through.
    shape : tuple of int
    channels : {"apart", "together"}
        Whether the channels (C) are restored one by one, or together with one network that learns their shared
        structure.
    """

    letters: str
    shape: tuple[int, ...]
    channels: Channels = "apart"

    @property
    def plane_letters(self) -> str:
        """The letters of a plane's axes, rows and columns first."""
        last = "S" if "S" in self.letters else "C" if self.takes_channels_together else ""
        return "YX" + last

    @property
    def stepped(self) -> str:
        """The letters of the axes that are stepped through, in order."""
        return "".join(letter for letter in self.letters if letter not in self.plane_letters)

    @property
    def takes_channels_together(self) -> bool:
        """Whether each plane has all the channels."""
        return self.channels == "together" and "C" in self.letters and "S" not in self.letters

    def size(self, letter: str) -> int:
        """Return the length of an axis."""
        return self.shape[self.letters.index(letter)]

    @property
    def plane_shape(self) -> tuple[int, ...]:
        """The shape of a plane, ``(h, w)`` or ``(h, w, c)``."""
        return tuple(self.size(letter) for letter in self.plane_letters)

    @property
    def count(self) -> int:
        """How many planes there are."""
        return math.prod(self.size(letter) for letter in self.stepped)

    def planes(self, selection: Mapping[str, Any] | None = None) -> Iterator[Plane]:
        """Return the planes in order; the last stepped axis varies fastest.

        Parameters
        ----------
        selection : mapping, optional
            A slice, an integer or a sequence of integers by letter; every plane along the axes left out.

        Raises
        ------
        ValueError
            If there is no such axis, or no plane is selected.
        """
        unknown = sorted(set(selection or {}) - set(self.stepped))
        if unknown:
            raise ValueError(
                f"planes cannot be chosen along {', '.join(unknown)}; of {self.letters}, they can be chosen along "
                f"{', '.join(self.stepped) or 'none'}."
            )
        numbers = [_numbers((selection or {}).get(letter), self.size(letter), letter) for letter in self.stepped]
        return (self._plane(dict(zip(self.stepped, each, strict=True))) for each in itertools.product(*numbers))

    def _plane(self, place: dict[str, int]) -> Plane:
        return Plane(tuple(place.get(letter, slice(None)) for letter in self.letters), place)

    def planes_around(self, plane: Plane, along: str, count: int) -> Iterator[Plane]:
        """Return a plane and those nearest to it along an axis, in order: ``count`` in all if there are as many."""
        length = self.size(along)
        first = max(0, min(plane.place[along] - count // 2, length - count))
        return (self._plane({**plane.place, along: n}) for n in range(first, min(first + count, length)))

    def read(self, array: Any, plane: Plane, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
        """Read only one plane of an array, ``(h, w)`` or ``(h, w, c)``, or a part of it.

        The plane of a masked array is a masked array.
        """
        within = {"Y": rows, "X": columns}
        index = tuple(within.get(letter, at) for letter, at in zip(self.letters, plane.index, strict=True))
        part = array[index]
        pixels: np.ndarray = np.asanyarray(part.compute() if hasattr(part, "compute") else part)  # dask loses masks
        if not np.ma.isMaskedArray(pixels):  # of the subclasses of ndarray, only the masked array matters
            pixels = np.asarray(pixels)
        in_order = [letter for letter in self.letters if letter in self.plane_letters]
        return pixels.transpose([in_order.index(letter) for letter in self.plane_letters])

    def write(self, array: Any, plane: Plane, image: np.ndarray) -> None:
        """Write one plane, ``(h, w)`` or ``(h, w, c)``, into an array with these axes (sizes may differ)."""
        in_order = [letter for letter in self.letters if letter in self.plane_letters]
        array[plane.index] = image.transpose([self.plane_letters.index(letter) for letter in in_order])

    def part(self, selection: Mapping[str, slice] | None = None) -> tuple[Axes, tuple[int, ...]]:
        """Return the axes of a part of the stack, and where it begins along each.

        Parameters
        ----------
        selection : mapping, optional
            A slice without a step, by letter; everything along the axes left out.
        """
        ranges = [
            range(*(selection or {}).get(letter, slice(None)).indices(self.size(letter))) for letter in self.letters
        ]
        return replace(self, shape=tuple(map(len, ranges))), tuple(each.start for each in ranges)

    def spread(self, image: np.ndarray) -> np.ndarray:
        """Return one plane, ``(h, w)`` or ``(h, w, c)``, with all axes; the stepped ones have length 1."""
        in_order = [letter for letter in self.letters if letter in self.plane_letters]
        image = image.transpose([self.plane_letters.index(letter) for letter in in_order])
        return np.expand_dims(image, tuple(n for n, letter in enumerate(self.letters) if letter in self.stepped))

    def read_mask(
        self, mask: Any, plane: Plane, rows: slice = slice(None), columns: slice = slice(None)
    ) -> NDArray[np.bool_]:
        """Read the mask of one plane, ``(h, w)``, or a part of it, from a mask that ``check_mask`` accepts.

        If channels are restored together, a pixel is missing if it is missing in any channel.
        """
        letters = self.check_mask(mask.shape)
        within: dict[str, int | slice] = {"Y": rows, "X": columns, **plane.place}
        part = mask[tuple(within.get(letter, slice(None)) for letter in letters)]
        # where the mask itself is masked, the pixel counts as missing
        missing: NDArray[np.bool_] = np.asarray(np.ma.filled(np.asanyarray(part), True)) != 0
        in_order = [letter for letter in letters if letter in self.plane_letters]
        if "C" in in_order:
            missing = np.asarray(missing.any(axis=in_order.index("C")))
            in_order.remove("C")
        return missing.transpose([in_order.index("Y"), in_order.index("X")])

    def check_mask(self, shape: tuple[int, ...]) -> str:
        """Return the letters of a mask's axes: those of one plane, or of the stack, with or without its channels.

        Raises
        ------
        ValueError
            If the shape matches none of them.
        """
        of_stack = self.letters.replace("S", "")
        for letters in dict.fromkeys((of_stack, of_stack.replace("C", ""), "YX")):
            if shape == tuple(self.size(letter) for letter in letters):
                return letters
        height, width = self.size("Y"), self.size("X")
        stack = tuple(self.size(letter) for letter in of_stack)
        raise ValueError(
            f"mask shape {shape} does not match the planes ({height}, {width}) or the stack {stack} ({of_stack})."
        )


def find_axes(shape: Sequence[int], letters: str | None = None, channels: str = "apart") -> Axes:
    """Return the axes of an array, after checking them.

    Parameters
    ----------
    shape : sequence of int
    letters : str, optional
        One per axis. Default: a plane, grey or with 3 or 4 colours last; further axes must be named.
    channels : {"apart", "together"}

    Raises
    ------
    ValueError
        If the letters do not match the shape; the message says what to do.
    """
    shape = tuple(int(length) for length in shape)
    if channels not in ("apart", "together"):
        raise ValueError(f'channels is {channels!r}; choose "apart" or "together".')
    if letters is None:
        letters = "YX" if len(shape) == 2 else "YXS" if len(shape) == 3 and shape[2] in (3, 4) else ""
        if not letters:
            raise ValueError(f'the image has shape {shape}; say what its axes are, such as axes="{_example(shape)}".')
    letters = letters.upper()
    if len(letters) != len(shape):
        raise ValueError(f"axes {letters} names {len(letters)} axes; the image has {len(shape)}, of shape {shape}.")
    if len(set(letters)) != len(letters) or not {"Y", "X"} <= set(letters) or not letters.isalpha():
        raise ValueError(f"axes is {letters}; give each axis a letter of its own, including Y (rows) and X (columns).")
    if "S" in letters and shape[letters.index("S")] not in (1, 3, 4):
        raise ValueError(
            f"axis S of {letters} has {shape[letters.index('S')]} colours, but should have 3, or 4 with alpha; if they "
            "are channels, name the axis C."
        )
    if channels == "together" and "S" in letters and "C" in letters:
        raise ValueError('channels that have colours (C and S) cannot be restored together; choose channels="apart".')
    if 0 in shape:
        raise ValueError(f"the image has shape {shape}; there is nothing in it.")
    return Axes(letters, shape, channels)  # type: ignore[arg-type]


def _example(shape: tuple[int, ...]) -> str:
    return ("QPTZCYX" if len(shape) > 5 else "TZCYX" if len(shape) == 5 else "TCYX" if len(shape) == 4 else "TYX")[
        -len(shape) :
    ]


def _numbers(chosen: Any, length: int, letter: str) -> list[int]:
    everything = range(length)
    if chosen is None:
        return list(everything)
    try:
        numbers = (
            list(everything[chosen]) if isinstance(chosen, slice) else [everything[n] for n in np.atleast_1d(chosen)]
        )
    except IndexError as error:
        raise ValueError(f"{letter} runs from 0 to {length - 1}; {chosen} is out of range.") from error
    if not numbers:
        raise ValueError(f"no plane is chosen along {letter}, which runs from 0 to {length - 1}.")
    return numbers
