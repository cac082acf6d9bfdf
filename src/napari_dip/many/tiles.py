"""Restore a large image in overlapping tiles, which share what was measured on all of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image_tensor import SMALLEST_SIDE
from ..interruption import Interrupted, wait_for
from ..measurement.task import Task, find_task
from ..outcome import Progress, Restoration, Tile
from ..outputs import FURTHER_OUTPUTS, OUTPUTS
from ..pace import seconds_left_of_planes
from ..request import Hooks, Request
from ..restoration import restore_steps
from ..settings import Settings
from ..torch_modes import keep_modes
from .axes import Plane
from .image_stack import MaskedStack
from .tile_survey import Place, Survey, measure_whole, survey_tiles
from .tiling import Tiling

_SAMPLES = 3  # tiles that choose the step
_ROWS_AT_ONCE = 1024  # of an output, while room is made for it
_NO_EXTRAS: dict[str, Any] = dict.fromkeys(FURTHER_OUTPUTS, False)


def restore_tiles(
    stack: MaskedStack, plane: Plane, tiling: Tiling, request: Request, hooks: Hooks
) -> Iterator[Progress]:
    """Restore a plane tile by tile, with the same intensity range, noise, schedule of λ and step for all tiles.

    The step is the median of those that sample tiles choose for themselves (unless the settings fix it); every tile
    ends at that step. Tiles are blended into their neighbours. After a stop, the result has the tiles restored until
    then (the samples, if there are no others), and NaN elsewhere.

    Yields
    ------
    Progress
        Of a tile; the estimate is the tile's, the time left is for all tiles. The last one has the result for the whole
        plane; its history is that of the last tile.

    Raises
    ------
    Interrupted
        If the hooks want a stop to end at once, and it comes before there is anything to keep.
    """
    return keep_modes(_restore_tiles(stack, plane, tiling, request, hooks))


def _restore_tiles(
    stack: MaskedStack, plane: Plane, tiling: Tiling, request: Request, hooks: Hooks
) -> Generator[Progress, None, None]:
    start = time.perf_counter()
    task, shape = find_task(request.task), stack.axes.plane_shape
    settings = dataclasses.replace(request.settings, snapshots=0)
    hooks.phase_begun("Reading the image")
    whole = wait_for(lambda: measure_whole(stack, plane, request, hooks.phase_begun), hooks.stop_at_once)
    hooks.phase_begun("Planning the tiles")
    surveys = list(survey_tiles(stack, plane, tiling, request.colours, hooks))
    known = [each for each in surveys if each.known >= SMALLEST_SIDE]
    if not known:
        raise ValueError("no tile has enough known pixels to learn from; allow more memory or crop the image.")
    unchanged = [each for each in known if _stays_unchanged(each, task, settings)]
    fitted = [each for each in known if not _stays_unchanged(each, task, settings)]
    if not fitted:
        raise ValueError("nothing is marked as missing; mark the missing pixels (mask), or set them to NaN.")

    def steps(tile: Tile, settings: Settings) -> Iterator[Progress]:
        place = tile.rows, tile.columns
        image, mask = stack.read(plane, *place), stack.read_mask(plane, *place)
        adapted = dataclasses.replace(request, settings=settings)
        about = dataclasses.replace(hooks, phase_begun=lambda words: hooks.phase_begun(f"{words}, {tile.describe()}"))
        around = stack.read_neighbours(plane, *place)
        known = whole.cut(*place)
        return restore_steps(image, mask, **adapted.arguments, whole=known, neighbours=around, **about.arguments)

    sums = _Sums(tiling, shape, request.enlargement)
    sums.prepare("restored", shape[2:], hooks.stop_at_once)  # now, so that a stop need not wait for it
    final: Progress | None = None
    sampled: list[tuple[Place, Restoration]] = []
    if settings.chosen_step is None and settings.stopping != "fixed" and task.removes_noise:
        samples = _choose_samples(fitted)
        try:
            for number, place in enumerate(samples, start=1):
                tile = Tile(number, len(samples), *place, sample=True)
                for progress in steps(tile, dataclasses.replace(settings, **_NO_EXTRAS)):
                    if progress.result is None:
                        yield dataclasses.replace(progress, seconds_left=None, tile=tile)
                    else:
                        final = progress
                        sampled.append((place, progress.result))
                if hooks.stop_requested():
                    break
        except Interrupted:
            if not sampled:
                raise
        chosen = int(np.median([result.step for _, result in sampled]))
        settings = dataclasses.replace(settings, chosen_step=chosen)
    # where all tiles have the image's own values, which blending would round
    kept = np.ones(shape, bool) if _keeps_values(request, shape) else None
    finished: list[Place] = []
    for survey in unchanged:
        if hooks.ends_at_once and hooks.stop_requested():
            break
        image = _in_float32(stack.read(plane, *survey.place))
        sums.add(survey.place, {"restored": image, "residual": np.zeros_like(image) if settings.residual else None})
        finished.append(survey.place)
    missing = sum(survey.missing for survey in surveys if survey.known < SMALLEST_SIDE)

    def add(place: Place, result: Restoration) -> None:
        sums.add(place, {name: getattr(result, name) for name in ("restored", *FURTHER_OUTPUTS)})
        finished.append(place)
        if kept is not None:
            kept[place] &= result.restored == _in_float32(stack.read(plane, *place))

    seconds: list[float] = []
    for number, survey in enumerate(fitted, start=1):
        if sampled and hooks.stop_requested():
            break
        began, tile = time.perf_counter(), Tile(number, len(fitted), *survey.place)
        result: Restoration | None = None
        try:
            for progress in steps(tile, settings):
                result = progress.result
                if result is None:
                    elapsed = time.perf_counter() - began
                    left = seconds_left_of_planes(progress.seconds_left, elapsed, seconds, len(fitted) - number)
                    before = time.perf_counter()
                    yield dataclasses.replace(progress, seconds_left=left, tile=tile)
                    began += time.perf_counter() - before  # the caller's time does not count
                else:
                    final = progress
        except Interrupted:
            break
        seconds.append(time.perf_counter() - began)
        assert result is not None
        missing += result.record.missing
        add(survey.place, result)
        if hooks.stop_requested():
            break
    if not seconds:  # a stop came before the first tile
        if not sampled:
            raise Interrupted
        for place, sample in sampled:
            add(place, sample)
    assert final is not None
    assert final.result is not None
    hooks.phase_begun("Putting the tiles together")
    outputs = sums.finish()
    if kept is not None:
        for place in finished:
            np.copyto(outputs["restored"][place], _in_float32(stack.read(plane, *place)), where=kept[place])
    empty, open_tiles = len(surveys) - len(known), len(known) - len(finished)
    whole_result = _combine(final.result, outputs, time.perf_counter() - start, missing, tiling, empty, open_tiles)
    yield dataclasses.replace(final, estimate=whole_result.restored, result=whole_result)


def _combine(
    last: Restoration,
    outputs: dict[str, NDArray[np.float32]],
    seconds: float,
    missing: int,
    tiling: Tiling,
    empty: int,
    open_tiles: int,
) -> Restoration:
    """Turn the result of the last tile into that of the whole image; some tiles are empty, or open after a stop."""
    count, (rows, columns) = len(tiling.places()), tiling.tile
    notes = [last.note]
    if empty:
        notes.append(f"{empty} of {count} tiles had too few known pixels and were left out.")
    if open_tiles:
        notes.append(f"{open_tiles} of {count} tiles were still to be restored; they are empty.")
    note, reason, after = " ".join(filter(None, notes)), last.stop_reason, last.record.stopped_after
    if open_tiles:
        reason = type(reason).USER
        after = last.record.stop_step if after is None else after
    record = dataclasses.replace(
        last.record,
        stop_reason=reason.value,
        stopped_after=after,
        given=None,
        note=note,
        seconds=seconds,
        missing=missing,
        compared=f"{last.record.compared}, in {count} tiles of {rows} x {columns} pixels",
    )
    all_outputs: dict[str, Any] = dict.fromkeys(FURTHER_OUTPUTS) | outputs
    return dataclasses.replace(last, record=record, note=note, stop_reason=reason, moments=(), **all_outputs)


def _stays_unchanged(survey: Survey, task: Task, settings: Settings) -> bool:
    """Return whether a tile stays as it is, because nothing in it is missing and no extra output is requested."""
    wants_more = settings.smoothed or settings.detail_enhanced or settings.uncertainty
    return task.needs_mask and not survey.missing and settings.keep_known and not wants_more


def _keeps_values(request: Request, shape: tuple[int, ...]) -> bool:
    """Return whether the result keeps some of the image's own values: known pixels or alpha."""
    task = find_task(request.task)
    has_alpha = request.colours and shape[2:] == (4,)
    is_kept = request.settings.keeps_known(task) or has_alpha
    return is_kept and request.enlargement == 1


def _in_float32(image: np.ndarray) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # known values beyond float32 were refused; unknown ones do not matter
        return np.asarray(image).astype(np.float32)


def _choose_samples(surveys: list[Survey]) -> list[Place]:
    """Return a few tiles, from medium to highest contrast, that choose when to stop."""
    ordered = sorted(surveys, key=lambda each: each.contrast)
    ranks = np.unique(np.linspace(len(ordered) // 2, len(ordered) - 1, _SAMPLES).astype(int))
    return [ordered[rank].place for rank in ranks]


class _Sums:
    """The outputs of the whole image, as weighted sums of its tiles; NaN where no tile was added.

    Parameters
    ----------
    tiling : Tiling
    shape : tuple of int
        Of the image.
    factor : int
    """

    def __init__(self, tiling: Tiling, shape: tuple[int, ...], factor: int) -> None:
        self._tiling, self._shape, self._factor = tiling, shape, factor
        self._sums: dict[str, NDArray[np.float32]] = {}
        self._places: dict[str, list[Place]] = {}  # per output, because a tile that was stopped may lack some

    def prepare(self, name: str, channels: tuple[int, ...], stop_requested: Callable[[], bool] | None = None) -> None:
        """Make room for an output, unless there is some: for a large image this takes a while.

        Parameters
        ----------
        name : str
        channels : tuple of int
            The output's axes beside rows and columns.
        stop_requested : callable, optional
            Raises ``Interrupted`` once this is true.
        """
        if name in self._sums:
            return
        scale = self._scale(name)
        room = np.empty((self._shape[0] * scale, self._shape[1] * scale, *channels), np.float32)
        for top in range(0, len(room), _ROWS_AT_ONCE):
            if stop_requested is not None and stop_requested():
                raise Interrupted
            room[top : top + _ROWS_AT_ONCE] = np.nan
        self._sums[name], self._places[name] = room, []

    def add(self, place: Place, outputs: dict[str, np.ndarray | None]) -> None:
        """Add the outputs of a tile, except those that are None."""
        for name, image in outputs.items():
            if image is None:
                continue
            scale = self._scale(name)
            self.prepare(name, image.shape[2:])
            weights = self._tiling.weights(place, scale)
            part = self._sums[name][_enlarge(place, scale)]
            part[self._find_first(name, place).repeat(scale, axis=0).repeat(scale, axis=1)] = 0
            part += image * (weights if image.ndim == 2 else weights[:, :, None])
            self._places[name].append(place)

    def finish(self) -> dict[str, NDArray[np.float32]]:
        """Return the outputs; where tiles were left out, the weights of the others are scaled to sum to 1."""
        for name, each in self._sums.items():
            if len(self._places[name]) == len(self._tiling.places()):
                continue  # their weights sum to 1
            scale = self._scale(name)
            places = [_enlarge(place, scale) for place in self._places[name]]
            top, bottom = min(rows.start for rows, _ in places), max(rows.stop for rows, _ in places)
            total = np.zeros((bottom - top, each.shape[1]), np.float32)
            for place, (rows, columns) in zip(self._places[name], places, strict=True):
                total[rows.start - top : rows.stop - top, columns] += self._tiling.weights(place, scale)
            between = each[top:bottom]
            with np.errstate(invalid="ignore"):  # NaN stays NaN, as intended
                np.divide(between, total if each.ndim == 2 else total[:, :, None], out=between)
        return self._sums

    def _find_first(self, name: str, place: Place) -> NDArray[np.bool_]:
        """Return which pixels of a tile no tile before it has, ``(h, w)``."""
        (top, bottom), (left, right) = ((each.start, each.stop) for each in place)
        first = np.ones((bottom - top, right - left), bool)
        for rows, columns in self._places[name]:
            within = slice(max(rows.start - top, 0), max(rows.stop - top, 0))
            first[within, max(columns.start - left, 0) : max(columns.stop - left, 0)] = False
        return first

    def _scale(self, name: str) -> int:
        return self._factor if OUTPUTS[name].is_enlarged else 1


def _enlarge(place: Place, scale: int) -> Place:
    rows, columns = (slice(each.start * scale, each.stop * scale) for each in place)
    return rows, columns
