"""The work of a run, in napari's worker: what is done already, then plane by plane what the engine reports."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from ...many.axes import Plane
from ...measurement.task import find_task
from ...outputs import list_wanted
from ...pace import Pace, seconds_left_of_planes
from ...record import Record, describe_given
from ...request import Hooks
from ...threads import shorten_waits
from ..layers.source import Place, Source, place_of
from ..request import LayerRequest
from .failures import explain_failure

if TYPE_CHECKING:
    from ...outcome import Progress, Restoration

_SHARE_OF_MEMORY = 0.8  # of what is free, that the layers of a result may take
_MOST_FAILURES = 3  # of planes, before any is done


@dataclass(frozen=True, slots=True, eq=False)
class RunReport:
    """How far a run is.

    Attributes
    ----------
    plane : Plane
        The one at work.
    number, count : int
        It is the number-th, from 1, of so many, those included that an earlier run has done.
    goes_on : bool
        Whether what an earlier run has done counts.
    progress : Progress or None
        Its result is None until the plane is done, or was stopped. None at the beginning of a run, and of a plane that
        failed.
    is_done : bool
        Whether the plane is done: not so if it is one of several and was stopped.
    seconds_left : (float, float) or None
        The least and the most, over all planes.
    why_not : str
        Why the plane cannot be restored; the run goes on with the next.
    """

    plane: Plane
    number: int
    count: int
    goes_on: bool
    progress: Progress | None = None
    is_done: bool = False
    seconds_left: tuple[float, float] | None = None
    why_not: str = ""

    @property
    def result(self) -> Restoration | None:
        """The plane's, once it is done or was stopped."""
        return None if self.progress is None else self.progress.result


def restore_in_worker(
    request: LayerRequest, stop: threading.Event, may_go_on: threading.Event, done: Mapping[Place, Record]
) -> Generator[RunReport, None, None]:
    """Run the engine in napari's worker: previews by the clock, errors that the worker does not swallow.

    Parameters
    ----------
    request : LayerRequest
    stop, may_go_on : Event
    done : mapping
        The records of planes that an earlier run has done: they are left out if their pixels and masks are still what
        they were; else all planes are restored anew.

    Raises
    ------
    ValueError
        If several planes fail and none succeeds: likely it is wrong with all. Else a plane that fails is left out.
    """
    from ...device import NotEnoughMemory, return_memory

    try:
        with shorten_waits():
            yield from _restore(request, stop, may_go_on, done)
        return
    except (RuntimeError, MemoryError, NotEnoughMemory) as error:  # torch's own, out of memory included
        failure = explain_failure(error)
        return_memory(error)
    raise failure  # beyond the except clause: chained to it, the error would keep the run's frames


def _restore(
    request: LayerRequest, stop: threading.Event, may_go_on: threading.Event, done: Mapping[Place, Record]
) -> Generator[RunReport, None, None]:
    from ...device import NotEnoughMemory
    from ...many.image_stack import MaskedStack
    from ...many.stack import restore_planes
    from ...many.tiling import plan_tiles
    from ...many.warm_start import Neighbours

    source, how = request.source, request.of_plane
    axes, to_do = source.axes, list(source.planes())
    count = len(to_do)
    again = [plane for plane in to_do if place_of(plane) in done]
    goes_on = bool(again) and all(_is_unchanged(source, plane, done[place_of(plane)]) for plane in again)
    if goes_on:
        to_do = [plane for plane in to_do if place_of(plane) not in done]
    else:
        _check_memory(request)
    yield RunReport(to_do[0], count - len(to_do) + 1, count, goes_on)
    tiling = plan_tiles(axes.plane_shape, how)
    neighbours = None if request.warm_start is None else Neighbours(axes, request.warm_start)
    pace = Pace(1 / request.previews_per_second)  # no more: napari would queue them up
    hooks = Hooks(stop.is_set, lambda: pace.is_due() or not may_go_on.is_set(), quick_estimates=True)
    seconds: list[float] = []
    failures: list[str] = []
    while to_do:
        start = time.perf_counter()
        try:
            stack = MaskedStack(source.array, axes, source.mask)
            for each in restore_planes(
                stack, list(to_do), how, hooks, tiling=tiling, neighbours=neighbours, client=None
            ):
                pace.mark_shown()
                elapsed, to_come = time.perf_counter() - start, len(to_do) - 1
                left, is_done = each.progress.seconds_left, False
                if each.result is not None:
                    # a single plane that was stopped is the result, another one of several is not
                    is_done = source.is_single or not (stop.is_set() and _is_cut_short(each.result, request))
                    left = 0.0, 0.0
                    seconds.append(elapsed)
                left = seconds_left_of_planes(left, elapsed, seconds, to_come)
                yield RunReport(each.plane, count - to_come, count, goes_on, each.progress, is_done, left)
                if is_done:
                    to_do.pop(0)
                    start = time.perf_counter()
                elif each.result is not None:
                    return
                paused = time.perf_counter()
                may_go_on.wait()
                start += time.perf_counter() - paused
            if stop.is_set():
                return
        except (ValueError, FloatingPointError) as error:
            failed = to_do.pop(0)
            why = str(error).removeprefix(f"plane {failed.describe()}: ")
            if isinstance(error, NotEnoughMemory):
                raise NotEnoughMemory(why) from error
            name = source.describe(failed)
            failures.append(f"plane {name}: {why}" if name else why)
            if not (seconds or goes_on) and (len(failures) == _MOST_FAILURES or not to_do):
                raise ValueError(failures[0]) from error
            yield RunReport(failed, count - len(to_do), count, goes_on, why_not=failures[-1])


def _is_cut_short(result: Restoration, request: LayerRequest) -> bool:
    """Return whether a plane that ended after a stop was asked for is less than it would have become."""
    if result.was_stopped or result.record.given is None:  # or in tiles, of which some may lack
        return True
    wanted = list_wanted(find_task(request.how.task), request.how.settings)
    return any(getattr(result, kind.name) is None for kind in wanted)


def _is_unchanged(source: Source, plane: Plane, record: Record) -> bool:
    """Return whether a plane and its mask are what they were when it was restored."""
    before, axes = record.given, source.axes
    if before is None:
        return True  # of tiles nothing is told
    mask = None if source.mask is None else axes.read_mask(source.mask, plane)
    now = describe_given(axes.read(source.array, plane), mask, before.colours)
    return (now.digest, now.mask) == (before.digest, before.mask)


def _check_memory(request: LayerRequest) -> None:
    """Check that layers of several planes can be held; a single one may be restored in tiles.

    Raises
    ------
    ValueError
        If not.
    """
    part, how = request.source.part, request.how
    if part.count == 1:
        return
    task, pixels = find_task(how.task), math.prod(part.shape) * how.enlargement**2
    outputs = len(list_wanted(task, how.settings)) + (not task.removes_noise)  # which is smoothed, too
    needed, free = 4 * pixels * outputs, psutil.virtual_memory().available
    if needed > _SHARE_OF_MEMORY * free:
        raise ValueError(
            f"the result of {part.count} planes would take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: "
            "choose a range of planes, or let the command line write them to a file."
        )
