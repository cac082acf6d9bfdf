"""A stack's run in napari's worker: what is done already, then plane by plane what restore_stack reports."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from ..many.axes import Plane
from ..measurement.task import find_task
from ..outputs import list_wanted
from ..pace import Pace, seconds_left_of_planes
from ..record import Record, describe_given
from ..threads import shorten_waits
from .run import Request, explain_errors
from .stack_source import StackSource

if TYPE_CHECKING:
    from ..outcome import Progress, Restoration

Place = tuple[tuple[str, int], ...]
_SHARE_OF_MEMORY = 0.8  # of what is free, that the layers of a result may take
_MOST_FAILURES = 3  # of planes, before any is done


@dataclass(frozen=True, slots=True)
class StackBegins:
    """How a run begins.

    Attributes
    ----------
    kept : frozenset
        The places of the planes that are done and need not be done again.
    count : int
        How many planes are wanted in all.
    """

    kept: frozenset[Place]
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class PlaneReport:
    """How far a stack is.

    Attributes
    ----------
    plane : Plane
    number, count : int
        It is the number-th, from 1, of so many, those included that are kept.
    progress : Progress
        Its result is None until the plane is done, or was stopped.
    finished : bool
        Whether the plane is done: not so if it was stopped.
    seconds_left : (float, float) or None
        The least and the most, over all planes.
    """

    plane: Plane
    number: int
    count: int
    progress: Progress
    finished: bool = False
    seconds_left: tuple[float, float] | None = None

    @property
    def result(self) -> Restoration | None:
        """The plane's, once it is done or was stopped."""
        return self.progress.result


@dataclass(frozen=True, slots=True)
class PlaneFailed:
    """A plane that cannot be restored; the run goes on with the next.

    Attributes
    ----------
    plane : Plane
    why : str
    """

    plane: Plane
    why: str


StackReport = StackBegins | PlaneReport | PlaneFailed


def place_of(plane: Plane) -> Place:
    """Return the place of a plane, as a key."""
    return tuple(plane.place.items())


def restore_stack_in_worker(
    request: Request, stop: threading.Event, may_go_on: threading.Event, done: Mapping[Place, Record]
) -> Generator[StackReport, None, None]:
    """Run restore_stack in napari's worker: previews by the clock, errors that the worker does not swallow.

    Parameters
    ----------
    request : Request
        Its source is a ``StackSource``.
    stop, may_go_on : Event
    done : mapping
        The records of planes that an earlier run has done: they are left out if their pixels and masks are still what
        they were; else all planes are restored anew.

    Raises
    ------
    ValueError
        If several planes fail and none succeeds: likely it is wrong with all. Else a plane that fails is left out.
    """
    with shorten_waits():
        yield from explain_errors(_restore_stack, request, stop, may_go_on, done)


def _restore_stack(
    request: Request, stop: threading.Event, may_go_on: threading.Event, done: Mapping[Place, Record]
) -> Generator[StackReport, None, None]:
    from ..device import NotEnoughMemory
    from ..many.stack import restore_stack

    source, settings = request.source, request.settings
    assert isinstance(source, StackSource)
    axes = source.axes
    again = [plane for plane in axes.planes(source.selection) if place_of(plane) in done] if done else []
    same = all(_is_unchanged(source, plane, done[place_of(plane)]) for plane in again)
    kept = frozenset(map(place_of, again)) if same else frozenset()
    if not kept:
        _check_memory(request, source)
    yield StackBegins(kept, source.part.count)
    pace = Pace(1 / request.previews_per_second)
    seconds: list[float] = []
    failures: list[str] = []
    over = set(kept)  # done, or of no use
    count, start = source.part.count, time.perf_counter()
    while len(over) < count:
        try:
            for each in restore_stack(
                source.array, axes.letters, source.mask, request.task, request.factor, settings,
                channels=axes.channels, planes=source.selection, skip=lambda plane: place_of(plane) in over,
                stop_requested=stop.is_set, report_wanted=lambda: pace.is_due() or not may_go_on.is_set(),
                quick_estimates=True, warm_start=request.warm_start,
            ):  # fmt: skip
                pace.made()
                number, elapsed = len(over) + 1, time.perf_counter() - start
                if each.result is None:
                    left = seconds_left_of_planes(each.progress.seconds_left, elapsed, seconds, count - number)
                    yield PlaneReport(each.plane, number, count, each.progress, seconds_left=left)
                else:
                    finished = not (stop.is_set() and _is_cut_short(each.result, request))
                    seconds.append(elapsed)
                    left = seconds_left_of_planes((0.0, 0.0), elapsed, seconds, count - number)
                    yield PlaneReport(each.plane, number, count, each.progress, finished, left)
                    if not finished:
                        return
                    over.add(place_of(each.plane))
                    start = time.perf_counter()
                paused = time.perf_counter()
                may_go_on.wait()
                start += time.perf_counter() - paused
            if stop.is_set():
                return
        except (ValueError, FloatingPointError) as error:
            failed = next(plane for plane in axes.planes(source.selection) if place_of(plane) not in over)
            over.add(place_of(failed))
            why = str(error).removeprefix(f"plane {failed.describe()}: ")
            if isinstance(error, NotEnoughMemory):
                raise NotEnoughMemory(why) from error
            failures.append(f"plane {source.of.describe(failed)}: {why}" if failed.place else why)
            if not (seconds or kept) and (len(failures) == _MOST_FAILURES or len(over) == count):
                raise ValueError(failures[0]) from error
            yield PlaneFailed(failed, failures[-1])


def _is_cut_short(result: Restoration, request: Request) -> bool:
    """Return whether a plane that ended after a stop was asked for is less than it would have become."""
    if result.was_stopped or result.record.given is None:  # or in tiles, of which some may lack
        return True
    wanted = list_wanted(find_task(request.task), request.settings)
    return any(getattr(result, kind.name) is None for kind in wanted)


def _is_unchanged(source: StackSource, plane: Plane, record: Record) -> bool:
    """Return whether a plane and its mask are what they were when it was restored."""
    before, axes = record.given, source.axes
    if before is None:
        return True  # of tiles nothing is told
    mask = None if source.mask is None else axes.read_mask(source.mask, plane)
    now = describe_given(axes.read(source.array, plane), mask, before.colours)
    return (now.digest, now.mask) == (before.digest, before.mask)


def _check_memory(request: Request, source: StackSource) -> None:
    """Check that the layers of the result can be held.

    Raises
    ------
    ValueError
        If not.
    """
    part = source.part
    task, pixels = find_task(request.task), math.prod(part.shape) * (request.factor or 1) ** 2
    outputs = len(list_wanted(task, request.settings)) + (not task.removes_noise)  # which is smoothed, too
    needed, free = 4 * pixels * outputs, psutil.virtual_memory().available
    if needed > _SHARE_OF_MEMORY * free:
        raise ValueError(
            f"the result of {part.count} planes would take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free: "
            "choose a range of planes, or let the command line write them to a file."
        )
