"""Plan the tiles of an image that exceeds a memory budget or takes too long for each step, and their weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..measurement.task import find_task
from ..request import Request

_OVERLAP = 64  # pixels; a small tile overlaps by a quarter
_SMALLEST_TILE = 64
_SHARE_OF_FREE = 0.8  # of the free memory, by default
# For a window, which is to obey within a second: the most pixels that it restores at once, and the side of its tiles. A
# step, and each operation of the filters, takes well under a second there, on a slow machine too.
_MOST_AT_ONCE = 1 << 20
_PROMPT_TILE, _PROMPT_TILE_ON_GPU = 384, 768
_BYTES_OF_PLANE = 16  # per pixel and channel, for the plane as read and as put together
_BYTES_OF_IMPORTS = 430e6  # resident, in addition to those in bytes_needed; measured: tests/benchmark/large_image.py


@dataclass(frozen=True, slots=True)
class Tiling:
    """The positions of tiles.

    Attributes
    ----------
    shape : (int, int)
        Of the image.
    tile : (int, int)
        Shape of every tile.
    overlap : int
        The least number of pixels that neighbours share.
    grid : int
        Tiles begin at multiples of this many pixels, such as the side of a JPEG's blocks.
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    overlap: int
    grid: int = 1

    def starts(self, axis: int) -> list[int]:
        """Return where tiles begin along an axis: the first tile begins and the last one ends with the image."""
        length, side = self.shape[axis], self.tile[axis]
        if side >= length:
            return [0]
        count = math.ceil((length - self.overlap) / (side - self.overlap))
        return [round(n * (length - side) / (count - 1) / self.grid) * self.grid for n in range(count)]

    def places(self) -> list[tuple[slice, slice]]:
        """Return the rows and columns of every tile."""
        return [
            (slice(top, top + self.tile[0]), slice(left, left + self.tile[1]))
            for top in self.starts(0)
            for left in self.starts(1)
        ]

    def weights(self, place: tuple[slice, slice], factor: int = 1) -> NDArray[np.float32]:
        """Return the weight of each pixel of a tile, ``(h, w)``; over all tiles, the weights of a pixel sum to 1.

        They rise and fall smoothly (as a squared sine) over the pixels that neighbours share.
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


def plan_tiles(
    shape: tuple[int, ...],
    request: Request,
    memory: float | None = None,
    *,
    prompt: bool = False,
    neighbours: bool = False,
) -> Tiling | None:
    """Plan tiles that fit a memory budget; return None if the whole image fits.

    Parameters
    ----------
    shape : tuple of int
        ``(h, w)`` or ``(h, w, c)``.
    request : Request
    memory : float, optional
        Bytes that the run may take, torch and the image included. Default: most of the device's free memory.
    prompt : bool
        Whether to cut every large image, however much memory there is, so that each of its steps is short.
    neighbours : bool
        Whether neighbouring planes may help, which takes more memory.

    Raises
    ------
    NotEnoughMemory
        If even the smallest tile does not fit the device.
    ValueError
        If it does not fit ``memory``, a parameter does not suit the task, or the device cannot be used.
    """
    from ..device import check_memory, free_memory
    from ..device_check import choose_proven_device
    from ..fit_plan import bytes_needed, may_fill_by_groups
    from ..torch_modes import plain_modes

    task = find_task(request.task)
    parameters = task.read_parameters(request.parameters)
    enlargement, beyond = task.enlargement(parameters), task.surroundings(parameters)
    settings = request.settings.for_task(task)
    height, width = shape[:2]
    channels = shape[2] if len(shape) == 3 else 1
    with plain_modes():  # the check of a device is a fit, which needs gradients
        device = choose_proven_device(settings.device, settings.precision)
    budget = _SHARE_OF_FREE * free_memory(device.device) if memory is None else float(memory)

    def needs(rows: int, columns: int) -> float:
        size = task.drawn_size((rows, columns), parameters)
        needed = bytes_needed(
            settings,
            device,
            size,
            channels,
            partner=task.noise_is_independent,
            fills=may_fill_by_groups(task, settings),
            neighbours=neighbours,
        )
        # a user's budget is for the whole process, imports included; free memory excludes them already
        return needed + (_BYTES_OF_IMPORTS if memory is not None and device.device == "cpu" else 0.0)

    too_slow = prompt and height * width * enlargement**2 > _MOST_AT_ONCE
    if needs(height, width) <= budget and not too_slow:
        return None
    fixed = _BYTES_OF_PLANE * height * width * channels * enlargement**2 if device.device == "cpu" else 0
    longest = max(height, width)
    smallest = max(_SMALLEST_TILE, -(-4 * max(beyond) // 32) * 32)  # a blur must fit twice
    if too_slow:
        side = _PROMPT_TILE if device.device == "cpu" else _PROMPT_TILE_ON_GPU
        longest = min(longest, max(smallest, side // enlargement) + 1)
    fitting = [side for side in range(smallest, longest, 32) if needs(side, side) + fixed <= budget]
    if not fitting:
        least = needs(smallest, smallest) + fixed
        if memory is None:
            check_memory(device.device, least / _SHARE_OF_FREE)  # refuses it
        raise ValueError(
            f"the memory budget of {budget / 1e9:.2f} GB is too small: even a tile of {smallest} pixels needs "
            f"about {least / 1e9:.2f} GB. Allow more memory, or choose a narrower network (width) or fewer runs."
        )
    # at a tile's edge the light from beyond is a guess, so neighbours share what a blur reaches
    side, overlap = fitting[-1], max(min(_OVERLAP, fitting[-1] // 4), 2 * max(beyond))
    grid = task.block
    # the last tile must also begin on the grid and end with the image
    rows, columns = (min(side - (side - length) % grid, length) for length in (height, width))
    return Tiling((height, width), (rows, columns), overlap, grid)
