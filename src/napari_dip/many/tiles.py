"""An image beyond a memory budget, restored in overlapping tiles that share all that was told of the whole."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..device import choose_device, free_memory
from ..fit_plan import bytes_needed
from ..image_tensor import find_intensity_range, to_tensor
from ..measurement.noise import estimate_channel_noise, estimate_noise, is_correlated
from ..measurement.task import find_task
from ..measurement.whole_image import WholeImage
from ..outcome import Progress, Restoration
from ..restoration import restore_steps
from ..settings import Settings
from .file_job import FURTHER_OUTPUTS

_OVERLAP = 64  # pixels, or a quarter of a small tile
_SMALLEST_TILE = 64
_SHARE_OF_FREE = 0.8  # of the memory that the machine has free, by default
_BYTES_OF_PLANE = 16  # per pixel and channel: the plane as it is read, and as it is put together
_BYTES_OF_IMPORTS = 430e6  # resident, beside those that every run counts: tests/benchmark/large_image.py
_SAMPLES = 3  # tiles that tell the step
_BLOCK, _MOST_PIXELS = 128, 1 << 22  # of what is looked at to tell range and noise of the whole

Read = Callable[[slice, slice], NDArray]


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
    """

    shape: tuple[int, int]
    tile: tuple[int, int]
    overlap: int

    def starts(self, axis: int) -> list[int]:
        """Return where tiles begin along an axis: the first with the image, the last so that it ends with it."""
        length, side = self.shape[axis], self.tile[axis]
        if side >= length:
            return [0]
        count = math.ceil((length - self.overlap) / (side - self.overlap))
        return [round(n * (length - side) / (count - 1)) for n in range(count)]

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


def plan_tiles(
    shape: tuple[int, ...], settings: Settings, task: str, factor: int | None, memory: float | None
) -> Tiling | None:
    """Return tiles that fit a memory budget; None if the whole image does.

    Parameters
    ----------
    shape : tuple of int
        ``(h, w)`` or ``(h, w, c)``.
    settings, task, factor
        As ``restore`` takes them.
    memory : float, optional
        Bytes that the run may take, torch and the image included. By default most of what the device has free.

    Raises
    ------
    ValueError
        If not even the smallest tile fits.
    """
    if not find_task(task).removes_noise:
        settings = settings.for_smoothing()
    height, width = shape[:2]
    channels = shape[2] if len(shape) == 3 else 1
    device = choose_device(settings.device, settings.precision)
    budget = _SHARE_OF_FREE * free_memory(device.device) if memory is None else float(memory)

    def needs(rows: int, columns: int) -> float:
        size = (rows * (factor or 1), columns * (factor or 1))
        needed = bytes_needed(settings, device, size, channels, helped=find_task(task).noise_is_independent)
        # a user's budget is for the whole process, with all that it has imported; what is free is counted without it
        return needed + (_BYTES_OF_IMPORTS if memory is not None and device.device == "cpu" else 0.0)

    if needs(height, width) <= budget:
        return None
    beside = _BYTES_OF_PLANE * height * width * channels * (factor or 1) ** 2 if device.device == "cpu" else 0
    fitting = [side for side in range(_SMALLEST_TILE, max(height, width), 32) if needs(side, side) + beside <= budget]
    if not fitting:
        least = needs(_SMALLEST_TILE, _SMALLEST_TILE) + beside
        raise ValueError(
            f"the memory budget of {budget / 1e9:.2f} GB is too small: a tile of {_SMALLEST_TILE} pixels would take "
            f"about {least / 1e9:.2f} GB. Allow more memory, or choose a narrower network (width) or fewer runs."
        )
    side = fitting[-1]
    return Tiling((height, width), (min(side, height), min(side, width)), min(_OVERLAP, side // 4))


def measure_whole(
    read: Read, read_mask: Read | None, shape: tuple[int, ...], task: str, colours: bool = True
) -> WholeImage:
    """Tell intensity range and noise of a whole image; of a large one by blocks spread evenly over it.

    Parameters
    ----------
    read : callable
        ``read(rows, columns)`` returns that part of the image.
    read_mask : callable, optional
        The same of the mask.
    shape : tuple of int
    task : str
    colours : bool

    Raises
    ------
    ValueError
        If there is nothing to restore.
    """
    height, width = shape[:2]
    side = math.isqrt(_MOST_PIXELS // _BLOCK**2)
    rows, columns = ([slice(0, length)] for length in (height, width))
    if height * width > _MOST_PIXELS:
        rows, columns = (
            [slice(start, start + _BLOCK) for start in np.unique(np.linspace(0, length - _BLOCK, side).astype(int))]
            if length > _BLOCK
            else [slice(0, length)]
            for length in (height, width)
        )
    parts, masks = [], []
    for row in rows:
        line, mask_line = [], []
        for column in columns:
            part = np.asarray(read(row, column))
            mask = np.zeros(part.shape[:2], bool) if read_mask is None else np.array(read_mask(row, column)) != 0
            if len(rows) * len(columns) > 1:  # across the edges of blocks nothing may be told of the noise
                mask[[0, -1], :] = mask[:, [0, -1]] = True
            line.append(part)
            mask_line.append(mask)
        parts.append(np.concatenate(line, axis=1))
        masks.append(np.concatenate(mask_line, axis=1))
    image, mask = np.concatenate(parts), np.concatenate(masks)
    channels = image[:, :, None] if image.ndim == 2 else image[:, :, :3] if colours else image
    known = np.isfinite(channels).all(axis=2) & ~mask
    if not known.any():
        raise ValueError("the mask and the not-a-number pixels leave nothing of the image to learn from.")
    intensity_range = find_intensity_range(channels[known].astype(np.float64), colours=colours)
    tensor = to_tensor(image, mask, colours=colours, intensity_range=intensity_range)
    correlated = find_task(task).noise_is_independent and is_correlated(tensor.values, tensor.known)
    noise = None
    if not correlated:
        estimate = estimate_noise if colours else estimate_channel_noise
        noise = estimate(tensor.values, tensor.known)
    return WholeImage(intensity_range, noise, correlated)


def restore_tiles(
    read: Read,
    read_mask: Read | None,
    shape: tuple[int, ...],
    tiling: Tiling,
    task: str = "denoise",
    factor: int | None = None,
    settings: Settings | None = None,
    *,
    colours: bool = True,
    stop_requested: Callable[[], bool] = lambda: False,
    report_wanted: Callable[[], bool] = lambda: False,
    quick_estimates: bool = False,
) -> Iterator[Progress]:
    """Restore an image tile by tile: one intensity range, noise, schedule of λ and step for all of them.

    The step is the median of those that sample tiles choose by themselves (where the settings leave it to them); then
    every tile ends at it. What a tile draws fades into its neighbours.

    Parameters
    ----------
    read, read_mask, shape, colours
        As ``measure_whole`` takes them.
    tiling : Tiling
    task, factor, settings, stop_requested, report_wanted, quick_estimates
        As ``restore_steps`` takes them. A stop returns what is done; NaN where nothing is.

    Yields
    ------
    Progress
        Of the tiles; its estimate is the tile's. The last one has the result, of the whole image: its history is that
        of the last tile.
    """
    start = time.perf_counter()
    settings = settings or Settings()
    whole = measure_whole(read, read_mask, shape, task, colours)
    places = tiling.places()

    def steps(place: tuple[slice, slice], settings: Settings) -> Iterator[Progress]:
        mask = None if read_mask is None else read_mask(*place)
        return restore_steps(
            read(*place), mask, task, factor, settings, colours=colours, whole=whole, stop_requested=stop_requested,
            report_wanted=report_wanted, quick_estimates=quick_estimates,
        )  # fmt: skip

    decides = settings.chosen_step is None and settings.stopping != "fixed" and find_task(task).removes_noise
    if decides:
        chosen = []
        for place in _sample_places(read, places):
            (last,) = deque(steps(place, dataclasses.replace(settings, **_ALONE)), maxlen=1)
            assert last.result is not None
            chosen.append(last.result.step)
        settings = dataclasses.replace(settings, chosen_step=int(np.median(chosen)))
    sums: dict[str, NDArray[np.float32]] = {}
    done = np.zeros(tuple(length * (factor or 1) for length in shape[:2]), np.float32)
    missing = 0
    final: Progress | None = None
    for place in places:
        for progress in steps(place, settings):
            if progress.result is None:
                yield progress
            final = progress
        assert final is not None
        assert final.result is not None
        missing += final.result.record.missing
        _add(sums, final.result, tiling, place, factor or 1, shape, done)
        if stop_requested():
            break
    assert final is not None
    reached = done > 0
    if not reached.all():  # stopped: what is there counts whole
        for each in sums.values():
            if each.shape[:2] == done.shape:
                weight = done if each.ndim == 2 else done[:, :, None]
                np.divide(each, weight, out=each, where=weight > 0)
                each[~reached] = np.nan
    last_result = final.result
    assert last_result is not None
    record = dataclasses.replace(
        last_result.record,
        given=None,
        seconds=time.perf_counter() - start,
        missing=missing,
        compared=f"{last_result.record.compared}, in {len(places)} tiles of {tiling.tile[0]} x {tiling.tile[1]} pixels",
    )
    outputs: dict[str, Any] = {name: sums.get(name) for name in ("restored", *FURTHER_OUTPUTS)}
    result = dataclasses.replace(last_result, record=record, moments=(), **outputs)
    yield dataclasses.replace(final, estimate=result.restored, result=result)


_ALONE: dict[str, Any] = {
    "smoothed": False, "detail_enhanced": False, "residual": False, "uncertainty": False, "snapshots": 0,
}  # fmt: skip


def _sample_places(read: Read, places: list[tuple[slice, slice]]) -> list[tuple[slice, slice]]:
    """Return a few tiles that tell when to stop: from the one of middling contrast to the one of most."""
    contrast = [float(np.nanstd(np.asarray(read(*place), dtype=np.float64)[::4, ::4])) for place in places]
    order = np.argsort(contrast)
    ranks = np.unique(np.linspace(len(places) // 2, len(places) - 1, _SAMPLES).astype(int))
    return [places[order[rank]] for rank in ranks]


def _add(
    sums: dict[str, NDArray[np.float32]],
    result: Restoration,
    tiling: Tiling,
    place: tuple[slice, slice],
    factor: int,
    shape: tuple[int, ...],
    done: NDArray[np.float32],
) -> None:
    """Add a tile's outputs, weighted, to those of the whole."""
    for name in ("restored", *FURTHER_OUTPUTS):
        image = getattr(result, name)
        if image is None:
            continue
        scale = 1 if name == "residual" else factor
        if name not in sums:
            sums[name] = np.zeros((shape[0] * scale, shape[1] * scale, *image.shape[2:]), np.float32)
        weights = tiling.weights(place, scale)
        here = tuple(slice(each.start * scale, each.stop * scale) for each in place)
        sums[name][here] += image * (weights if image.ndim == 2 else weights[:, :, None])
    here = tuple(slice(each.start * factor, each.stop * factor) for each in place)
    done[here] += tiling.weights(place, factor)
