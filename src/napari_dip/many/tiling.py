"""Where the tiles of an image lie that is beyond a memory budget, and how they fade into one another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..measurement.task import find_task
from ..request import Request

_OVERLAP = 64  # pixels, or a quarter of a small tile
_SMALLEST_TILE = 64
_SHARE_OF_FREE = 0.8  # of the memory that the machine has free, by default
_BYTES_OF_PLANE = 16  # per pixel and channel: the plane as it is read, and as it is put together
_BYTES_OF_IMPORTS = 430e6  # resident, beside those that every run counts: tests/benchmark/large_image.py


@dataclass(frozen=True, slots=True)
class Tiling:
    """Where tiles lie.

    Attributes
    ----------
    shape : (int, int)
        Of the image.
    tile : (int, int)
        Of every tile.
    overlap : int
        Pixels that neighbours share, at least.
    grid : int
        Tiles begin at multiples of so many pixels, such as the side of a JPEG's blocks.
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    overlap: int
    grid: int = 1

    def starts(self, axis: int) -> list[int]:
        """Return where tiles begin along an axis: the first with the image, the last so that it ends with it."""
        length, side = self.shape[axis], self.tile[axis]
        if side >= length:
            return [0]
        count = math.ceil((length - self.overlap) / (side - self.overlap))
        return [round(n * (length - side) / (count - 1) / self.grid) * self.grid for n in range(count)]

    def places(self) -> list[tuple[slice, slice]]:
        """Return rows and columns of every tile."""
        return [
            (slice(top, top + self.tile[0]), slice(left, left + self.tile[1]))
            for top in self.starts(0)
            for left in self.starts(1)
        ]

    def weights(self, place: tuple[slice, slice], factor: int = 1) -> NDArray[np.float32]:
        """Return the weight of each pixel of a tile, ``(h, w)``: over all tiles they sum to 1 at every pixel.

        They rise and fall smoothly (a squared sine) over the pixels that neighbours share.
        """
        rows, columns = (self._ramp(axis, each.start, factor) for axis, each in enumerate(place))
        return np.outer(rows, columns).astype(np.float32)

    def _ramp(self, axis: int, start: int, factor: int) -> NDArray[np.float64]:
        side, starts = self.tile[axis] * factor, [each * factor for each in self.starts(axis)]
        ramp = np.ones(side)
        number = starts.index(start * factor)
        if number > 0:
            shared = starts[number - 1] + side - starts[number]
            ramp[:shared] = np.sin(np.pi / 2 * (np.arange(shared) + 0.5) / shared) ** 2
        if number + 1 < len(starts):
            shared = starts[number] + side - starts[number + 1]
            ramp[side - shared :] *= np.sin(np.pi / 2 * (np.arange(shared) + 0.5) / shared)[::-1] ** 2
        return ramp


def plan_tiles(shape: tuple[int, ...], request: Request, memory: float | None = None) -> Tiling | None:
    """Return tiles that fit a memory budget; None if the whole image does.

    Parameters
    ----------
    shape : tuple of int
        ``(h, w)`` or ``(h, w, c)``.
    request : Request
    memory : float, optional
        Bytes that the run may take, torch and the image included. By default most of what the device has free.

    Raises
    ------
    ValueError
        If not even the smallest tile fits, a parameter does not go with the task, or the device cannot be used.
    """
    from ..device import free_memory
    from ..device_check import choose_proven_device
    from ..fit_plan import bytes_needed
    from ..torch_modes import plain_modes

    task, enlargement = find_task(request.task), request.enlargement
    task.read_parameters(request.parameters)
    settings = request.settings.for_task(task)
    height, width = shape[:2]
    channels = shape[2] if len(shape) == 3 else 1
    with plain_modes():  # a device proves itself by a fit, which takes gradients
        device = choose_proven_device(settings.device, settings.precision)
    budget = _SHARE_OF_FREE * free_memory(device.device) if memory is None else float(memory)

    def needs(rows: int, columns: int) -> float:
        size = (rows * enlargement, columns * enlargement)
        needed = bytes_needed(settings, device, size, channels, partner=task.noise_is_independent)
        # a user's budget is for the whole process, with all that it has imported; what is free is counted without it
        return needed + (_BYTES_OF_IMPORTS if memory is not None and device.device == "cpu" else 0.0)

    if needs(height, width) <= budget:
        return None
    beside = _BYTES_OF_PLANE * height * width * channels * enlargement**2 if device.device == "cpu" else 0
    fitting = [side for side in range(_SMALLEST_TILE, max(height, width), 32) if needs(side, side) + beside <= budget]
    if not fitting:
        least = needs(_SMALLEST_TILE, _SMALLEST_TILE) + beside
        raise ValueError(
            f"the memory budget of {budget / 1e9:.2f} GB is too small: a tile of {_SMALLEST_TILE} pixels would take "
            f"about {least / 1e9:.2f} GB. Allow more memory, or choose a narrower network (width) or fewer runs."
        )
    side, overlap = fitting[-1], min(_OVERLAP, fitting[-1] // 4)
    grid = task.block
    # the last tile begins on the grid, too, and ends with the image
    rows, columns = (min(side - (side - length) % grid, length) for length in (height, width))
    return Tiling((height, width), (rows, columns), overlap, grid)
