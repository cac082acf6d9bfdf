"""Reads a layer in the worker: whole planes, each as the first thing that a run does with it."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil

from ...interruption import wait_for
from ...many.axes import Axes

_SHARE_OF_MEMORY = 0.25  # of the free memory, that the plane may take
_LEAST_SIDE = 1024  # pixels that are read at once along each axis, if chunks are smaller


class PlaneReader:
    """The array of a layer; the planes in work are kept in memory, so that tiles do not read a chunk again and again.

    They also are the planes as they were when their restoration began, if the layer's own pixels change meanwhile. A
    plane that is too large for memory is read where it is indexed.

    Parameters
    ----------
    array : array
        numpy, dask, zarr or anything that can be indexed.
    axes : Axes
    stop_requested : callable
    phase_begun : callable
        Called with words when a plane is being read.
    count : int
        How many planes are in work at once, those that help included.

    Raises
    ------
    Interrupted
        When it is indexed, if a stop is requested before the pixels are there.
    """

    def __init__(
        self,
        array: Any,
        axes: Axes,
        stop_requested: Callable[[], bool],
        phase_begun: Callable[[str], None],
        count: int = 1,
    ) -> None:
        self.shape, self.dtype, self.ndim = tuple(array.shape), np.dtype(array.dtype), len(array.shape)
        self._array, self._axes = array, axes
        self._stop_requested, self._phase_begun = stop_requested, phase_begun
        self._count = count
        self._planes: OrderedDict[tuple[int, ...], np.ndarray | None] = OrderedDict()  # None: too large for memory

    def __getitem__(self, index: tuple[int | slice, ...]) -> np.ndarray:
        place = tuple(at for at in index if not isinstance(at, slice))
        if place not in self._planes:
            while len(self._planes) >= self._count:  # before another one is read
                self._planes.popitem(last=False)
            self._planes[place] = self._read_plane(index)
        self._planes.move_to_end(place)
        plane = self._planes[place]
        if plane is None:
            return self._read(index)
        return plane[tuple(at for at in index if isinstance(at, slice))]

    def _read_plane(self, index: tuple[int | slice, ...]) -> np.ndarray | None:
        """Read a whole plane block by block; None if it is too large for memory."""
        axes = [n for n, at in enumerate(index) if isinstance(at, slice)]
        shape = tuple(self.shape[n] for n in axes)
        if np.prod(shape, dtype=float) * self.dtype.itemsize > _SHARE_OF_MEMORY * psutil.virtual_memory().available:
            return None
        self._phase_begun("Reading the image")
        plane: np.ndarray | None = None
        for block in itertools.product(*(self._find_blocks(n) for n in axes)):
            places = iter(block)
            pixels = self._read(tuple(next(places) if isinstance(at, slice) else at for at in index))
            if plane is None:
                plane = np.empty(shape, pixels.dtype)
            if np.ma.isMaskedArray(pixels) and not np.ma.isMaskedArray(plane):
                plane = np.ma.array(plane)
            plane[block] = pixels
        return plane

    def _read(self, index: tuple[int | slice, ...]) -> np.ndarray:
        def read() -> np.ndarray:
            part = self._array[index]
            return np.asanyarray(part.compute() if hasattr(part, "compute") else part)  # dask itself loses masks

        # a chunk of a file may take longer than a user waits
        return read() if isinstance(self._array, np.ndarray) else wait_for(read, self._stop_requested)

    def _find_blocks(self, axis: int) -> list[slice]:
        """Return the blocks to read along an axis: whole chunks of the array."""
        length = self.shape[axis]
        if self._axes.letters[axis] not in "YX":
            return [slice(0, length)]
        chunks = getattr(self._array, "chunks", None)
        of_axis = chunks[axis] if chunks else 1
        ends = np.cumsum(of_axis) if isinstance(of_axis, tuple) else np.arange(1, -(-length // of_axis) + 1) * of_axis
        borders = [0]
        for end in np.minimum(ends, length).tolist():
            if end - borders[-1] >= _LEAST_SIDE or end == length:
                borders.append(end)
        return [slice(*each) for each in itertools.pairwise(borders)]
