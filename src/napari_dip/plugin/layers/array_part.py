"""A part of a layer's array that has not been read yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

_MOST_BYTES = 1 << 25  # copied at once: a plane of 2048 x 2048 in any type, which takes some 10 ms


class ArrayPart:
    """The part of an array between slices, with all its axes; read only where it is indexed.

    For arrays that are read as soon as they are sliced, such as those of zarr.

    Parameters
    ----------
    array : array
    part : sequence of slice
        One per axis of the array or of its first axes, without a step.
    """

    def __init__(self, array: Any, part: Sequence[slice]) -> None:
        whole = [*part, *[slice(None)] * (len(array.shape) - len(part))]
        ranges = [range(*each.indices(length)) for each, length in zip(whole, array.shape, strict=True)]
        self._array, self._begin = array, [each.start for each in ranges]
        self.shape, self.dtype = tuple(map(len, ranges)), np.dtype(array.dtype)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> Any:
        given = index if isinstance(index, tuple) else (index,)
        whole = [*given, *[slice(None)] * (self.ndim - len(given))]
        return self._array[
            tuple(
                slice(*(begin + n for n in at.indices(length)[:2])) if isinstance(at, slice) else begin + at
                for at, begin, length in zip(whole, self._begin, self.shape, strict=True)
            )
        ]


def take_part(array: Any, part: Sequence[slice]) -> Any:
    """Return a part of an array: a copy if it is small and in memory, else one that is read later.

    The copy is of the pixels as they are now; whatever is read later is as it is then.
    """
    if isinstance(array, np.ndarray):
        view = array[tuple(part)]
        in_memory = not isinstance(array, np.memmap)
        return view.copy() if in_memory and view.nbytes <= _MOST_BYTES else view
    # dask slices without reading, and knows its chunks
    return array[tuple(part)] if hasattr(array, "dask") else ArrayPart(array, part)
