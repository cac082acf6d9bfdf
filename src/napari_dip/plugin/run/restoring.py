"""The work of a run in napari's worker: skips finished planes, then restores and reports plane by plane."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import psutil

from ...interruption import Interrupted, wait_for
from ...many.axes import Plane
from ...many.image_stack import PLANES_TOGETHER, MaskedStack
from ...measurement.task import find_task
from ...outputs import list_wanted
from ...pace import Pace, seconds_left_of_planes
from ...record import Record, describe_given
from ...request import Hooks
from ...threads import shorten_waits
from ..layers.outputs import convert_outputs
from ..layers.source import Place, place_of
from ..request import LayerRequest
from .failures import explain_failure
from .plane_reader import PlaneReader

if TYPE_CHECKING:
    from ...outcome import Progress, Restoration

_SHARE_OF_MEMORY = 0.8  # of the free memory that the result's layers may take
# With more, a stop leaves out the last filters, which then take more than a second. Below, it keeps the best result,
# which a script can repeat.
_MOST_PIXELS_TO_WAIT_FOR = 1 << 18
_MOST_FAILURES = 3  # before the first finished plane


@dataclass(frozen=True, slots=True, eq=False)
class RunReport:
    """How far a run is.

    Attributes
    ----------
    plane : Plane
        The current plane.
    number, count : int
        Its number, from 1, and the number of all planes; both include planes that an earlier run has finished.
    continues : bool
        Whether the run keeps planes that an earlier run has finished.
    progress : Progress or None
        Its result is None until the plane is finished or stopped. None at the start of a run and after a plane failed.
    is_finished : bool
        Whether the plane is finished; False if it is one of several and was stopped.
    seconds_left : (float, float) or None
        The least and the most, for all planes.
    failure : str
        Why the plane could not be restored; the run continues with the next.
    converted : mapping
        The result's images as ``convert_outputs`` returns them; empty until there is a result.
    """

    plane: Plane
    number: int
    count: int
    continues: bool
    progress: Progress | None = None
    is_finished: bool = False
    seconds_left: tuple[float, float] | None = None
    failure: str = ""
    converted: Mapping[str, tuple[np.ndarray, int]] = field(default_factory=dict)

    @property
    def result(self) -> Restoration | None:
        """The plane's result, once it is finished or stopped."""
        return None if self.progress is None else self.progress.result


class Stop(Protocol):
    """What says whether a run was asked to end."""

    def is_set(self) -> bool:
        """Return whether it was."""
        ...


def restore_in_worker(
    request: LayerRequest,
    stop: Stop,
    unpaused: threading.Event,
    finished: Mapping[Place, Record],
    phase_begun: Callable[[str], None],
) -> Generator[RunReport, None, None]:
    """Run the engine: show previews by the clock, and raise only exceptions that napari's worker passes on.

    Parameters
    ----------
    request : LayerRequest
    stop : Stop
    unpaused : Event
    finished : mapping
        The records of planes that an earlier run has finished. They are skipped if their pixels and masks are
        unchanged; otherwise all planes are restored again.
    phase_begun : callable
        Called with words for what is being done between the reports.

    Raises
    ------
    ValueError
        If the first planes all fail, which is then likely to happen to all. A single plane that fails is skipped.
    """
    from ...device import NotEnoughMemory, return_memory

    try:
        with shorten_waits():
            yield from _restore(request, stop, unpaused, finished, phase_begun)
        return
    except Interrupted:  # there is nothing to keep of the current plane
        return
    except (RuntimeError, MemoryError, NotEnoughMemory) as error:  # torch's own, also when out of memory
        failure = explain_failure(error)
        return_memory(error)
    raise failure  # outside the except clause, because a chained error would keep the run's frames alive


def _restore(
    request: LayerRequest,
    stop: Stop,
    unpaused: threading.Event,
    finished: Mapping[Place, Record],
    phase_begun: Callable[[str], None],
) -> Generator[RunReport, None, None]:
    from ...device import NotEnoughMemory
    from ...many.neighbours import find_neighbour_axis
    from ...many.stack import restore_planes
    from ...many.tiling import plan_tiles
    from ...many.warm_start import LastNetworks

    source = request.source
    axes, to_do = source.axes, list(source.planes())
    count = len(to_do)

    def say(words: str) -> None:
        where = "" if count == 1 or not to_do else f", {source.describe(to_do[0])}"
        done = "" if count == 1 else f"; {count - len(to_do)} of {count} planes are finished"
        phase_begun(f"{words}{where}{done}")

    count_kept = 1 if request.neighbours is None else PLANES_TOGETHER
    reader = PlaneReader(source.array, axes, stop.is_set, say, count_kept)
    along = find_neighbour_axis(reader, axes, request.options, request.neighbours)
    stack = MaskedStack(reader, axes, source.mask, along)
    again = [plane for plane in to_do if place_of(plane) in finished]
    continues = bool(again) and all(_is_unchanged(stack, plane, finished[place_of(plane)]) for plane in again)
    if continues:
        to_do = [plane for plane in to_do if place_of(plane) not in finished]
    else:
        _check_memory(request)
    yield RunReport(to_do[0], count - len(to_do) + 1, count, continues)
    plane_request = wait_for(lambda: request.plane_request, stop.is_set)
    tiling = plan_tiles(axes.plane_shape, plane_request, prompt=True, neighbours=along is not None)
    networks = None if request.warm_start is None else LastNetworks(axes, request.warm_start)
    pace = Pace(1 / request.previews_per_second)  # napari would queue up more than it can show
    hooks = Hooks(
        stop.is_set, lambda: pace.is_due() or not unpaused.is_set(), quick_estimates=True,
        ends_at_once=math.prod(axes.plane_shape[:2]) * request.options.enlargement**2 > _MOST_PIXELS_TO_WAIT_FOR,
        phase_begun=say,
    )  # fmt: skip
    seconds: list[float] = []
    failures: list[str] = []
    while to_do:
        start = time.perf_counter()
        try:
            for each in restore_planes(
                stack, list(to_do), plane_request, hooks, tiling=tiling, networks=networks, client=None
            ):
                pace.mark_shown()
                elapsed, to_come = time.perf_counter() - start, len(to_do) - 1
                left, is_finished = each.progress.seconds_left, False
                if each.result is not None:
                    # a single plane that was stopped is the result; one of several planes is not
                    is_finished = source.is_single or not (stop.is_set() and _is_cut_short(each.result, request))
                    left = 0.0, 0.0
                    seconds.append(elapsed)
                left = seconds_left_of_planes(left, elapsed, seconds, to_come)
                yield RunReport(
                    each.plane, count - to_come, count, continues, each.progress, is_finished, left,
                    converted={} if each.result is None else convert_outputs(
                        each.result, source.dtype, request.original_type
                    ),
                )  # fmt: skip
                if is_finished:
                    to_do.pop(0)
                    start = time.perf_counter()
                elif each.result is not None:
                    return
                paused = time.perf_counter()
                unpaused.wait()
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
            if not (seconds or continues) and (len(failures) == _MOST_FAILURES or not to_do):
                raise ValueError(failures[0]) from error
            yield RunReport(failed, count - len(to_do), count, continues, failure=failures[-1])


def _is_cut_short(result: Restoration, request: LayerRequest) -> bool:
    """Return whether a plane that ended after a stop request is incomplete."""
    if result.was_stopped or result.record.given is None:  # None for tiles, some of which may be missing
        return True
    wanted = list_wanted(find_task(request.options.task), request.options.settings)
    return any(getattr(result, kind.name) is None for kind in wanted)


def _is_unchanged(stack: MaskedStack, plane: Plane, record: Record) -> bool:
    """Return whether a plane and its mask are the same as when it was restored."""
    before = record.given
    if before is None:
        return True  # records of tiled planes have no digest
    around = stack.read_neighbours(plane)
    now = describe_given(stack.read(plane), stack.read_mask(plane), before.colours)
    if around is not None:
        now = now.with_neighbours(around.planes, around.along)
    return (now.digest, now.mask, now.neighbours) == (before.digest, before.mask, before.neighbours)


def _check_memory(request: LayerRequest) -> None:
    """Check that there is memory for the layers of several planes; a single plane may be restored in tiles.

    Raises
    ------
    ValueError
        If there is not enough.
    """
    part, options = request.source.part, request.options
    if part.count == 1:
        return
    task, pixels = find_task(options.task), math.prod(part.shape) * options.enlargement**2
    outputs = len(list_wanted(task, options.settings)) + (not task.removes_noise)  # enhancing adds the smoothed image
    needed, free = 4 * pixels * outputs, psutil.virtual_memory().available
    if needed > _SHARE_OF_MEMORY * free:
        raise ValueError(
            f"the result of {part.count} planes would take {needed / 1e9:.1f} GB; {free / 1e9:.1f} GB are free: "
            "choose a range of planes, or use the command line, which writes to a file."
        )
