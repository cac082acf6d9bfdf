"""restore_stack(): the planes of a stack, one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..measurement.task import find_task
from ..outcome import Progress, Restoration, WarmStart
from ..restoration import restore_steps
from ..settings import Settings
from .axes import Axes, Plane, find_axes
from .image_stack import UnreadablePixels
from .stack_files import open_stack
from .tasks import run_tasks
from .tiles import restore_tiles
from .tiling import plan_tiles
from .warm_start import Neighbours, shorten


@dataclass(frozen=True, slots=True, eq=False)
class PlaneProgress:
    """How far a stack is.

    Attributes
    ----------
    plane : Plane
        The one that this is about: ``plane.index`` is its place in the stack.
    number, count : int
        It is the number-th, from 1, of so many.
    progress : Progress
        ``progress.result`` is None until the plane is done.
    """

    plane: Plane
    number: int
    count: int
    progress: Progress

    @property
    def result(self) -> Restoration | None:
        """The plane's, once it is done."""
        return self.progress.result


def restore_stack(
    stack: Any,
    axes: str | None = None,
    mask: Any = None,
    task: str = "denoise",
    factor: int | None = None,
    settings: Settings | None = None,
    *,
    channels: str = "apart",
    planes: Mapping[str, Any] | None = None,
    warm_start: str | None = None,
    out: Any = None,
    skip: Callable[[Plane], bool] = lambda plane: False,
    client: Any = None,
    memory: float | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
    report_wanted: Callable[[], bool] = lambda: False,
    quick_estimates: bool = False,
) -> Iterator[PlaneProgress]:
    """Restore a stack plane by plane; everything that can be is checked at the call.

    Each plane is what ``restore`` makes of it alone, unless ``warm_start`` lets neighbours help. Only the plane at work
    is read, and kept by nobody but the caller: ``out`` may lie on a disk. Iteration can end at any plane; those done
    are done.

    Parameters
    ----------
    stack : array or path
        Any number of axes; a numpy, dask or zarr array, or anything that has a shape and can be indexed. Or the path of
        a TIFF, OME-TIFF, OME-Zarr (its finest level) or PNG.
    axes : str, optional
        What the axes are, one letter each, such as "TCYX": Y and X are rows and columns, S colours, C channels, all
        others (T, Z ...) are stepped through. By default what the file says; of an array, a plane, grey or RGB.
    mask : array, optional
        True = missing: ``(h, w)`` for all planes, or of the stack's shape, with or without channels.
    task, factor, settings
        As ``restore`` takes them.
    channels : {"apart", "together"}
        Together, all channels are drawn by one network and share their structure; each has its own intensity range.
    planes : mapping, optional
        Which of them: a slice, number or sequence of numbers for the letters of some axes, such as
        ``{"T": slice(0, 10)}``.
    warm_start : str, optional
        The letter of an axis, such as "T" or "Z", along which a plane begins with the network of the one before it,
        where the two differ by little more than their noise; else it begins afresh. Off by default: a plane then
        depends on nothing but itself (docs/many_images.md has figures). Not for tiles, nor on a cluster.
    out : array, optional
        Filled with ``restored`` (of the task "enhance": ``detail_enhanced``) as planes are done. The stack's axes and
        sizes, times the factor.
    skip : callable
        Asked at the call of every plane: whether it is left out, for instance because it is done.
    client : distributed.Client, optional
        Whose workers share the planes, which then come as they are done; there are no reports before their results,
        nor moments of them. A stop yields no more planes.
    memory : float, optional
        Bytes that a plane may take; one that would take more is restored in overlapping tiles, of which its reports
        are. By default most of what the device has free. (On a cluster planes are not tiled.)
    stop_requested, report_wanted, quick_estimates
        As ``restore_steps`` takes them, for the plane at work. A stop keeps the best of this plane, and ends.

    Yields
    ------
    PlaneProgress
        Of every plane its result, and the reports that were wanted before it.

    Raises
    ------
    ValueError, TypeError
        As ``restore``, at the call or, for what only a plane's pixels tell, when it comes to that plane.
    """
    if isinstance(stack, str | PathLike):
        opened = open_stack(Path(stack))
        stack, axes = opened.array, axes or opened.axes
    stack = stack if hasattr(stack, "shape") else np.asarray(stack)
    found = find_axes(stack.shape, axes, channels)
    chosen = [plane for plane in found.planes(planes) if not skip(plane)]
    if mask is not None:
        mask = mask if hasattr(mask, "shape") else np.asarray(mask)
        found.check_mask(tuple(mask.shape))
    output = "restored" if find_task(task).removes_noise else "detail_enhanced"
    if out is not None:
        wanted = tuple(
            length * (factor or 1 if letter in "YX" else 1)
            for letter, length in zip(found.letters, found.shape, strict=True)
        )
        if tuple(out.shape) != wanted:
            raise ValueError(f"out has shape {tuple(out.shape)}; what is restored has {wanted}.")

    tiling = None if client is not None else plan_tiles(found.plane_shape, settings or Settings(), task, factor, memory)

    neighbours = None if warm_start is None else Neighbours(found, warm_start)
    if neighbours is not None and (client is not None or tiling is not None):
        raise ValueError("planes that begin where others ended cannot be shared out or tiled; leave warm_start None.")

    def begin(plane: Plane) -> Iterator[Progress]:
        if neighbours is not None:
            return _begin_warm(begin_at, neighbours, plane, found.read(stack, plane), settings or Settings())
        return begin_at(plane, settings, None)

    def begin_at(plane: Plane, settings: Settings | None, start: WarmStart | None) -> Iterator[Progress]:
        if tiling is not None:
            return restore_tiles(
                partial(found.read, stack, plane), None if mask is None else partial(found.read_mask, mask, plane),
                found.plane_shape, tiling, task, factor, settings, colours=not found.takes_channels_together,
                stop_requested=stop_requested, report_wanted=report_wanted, quick_estimates=quick_estimates,
            )  # fmt: skip
        return restore_steps(
            found.read(stack, plane), None if mask is None else found.read_mask(mask, plane), task, factor, settings,
            colours=not found.takes_channels_together, start=start, keep_network=neighbours is not None,
            stop_requested=stop_requested, report_wanted=report_wanted, quick_estimates=quick_estimates,
        )  # fmt: skip

    if not chosen:
        return iter(())
    if client is not None:
        arguments = (
            (_read(found, stack, plane), None if mask is None else found.read_mask(mask, plane), task, factor, settings,
             not found.takes_channels_together)
            for plane in chosen
        )  # fmt: skip
        return _run_on_cluster(found, chosen, arguments, client, out, output, stop_requested)
    try:
        first = begin(chosen[0])
    except UnreadablePixels as error:
        raise _of_plane(error, chosen[0]) from error
    return _run(found, chosen, first, begin, out, output, stop_requested)


def _read(axes: Axes, stack: Any, plane: Plane) -> NDArray:
    """Read a plane, and say which it is if that fails."""
    try:
        return axes.read(stack, plane)
    except UnreadablePixels as error:
        raise _of_plane(error, plane) from error


def _run(
    axes: Axes,
    planes: list[Plane],
    first: Iterator[Progress],
    begin: Callable[[Plane], Iterator[Progress]],
    out: Any,
    output: str,
    stop_requested: Callable[[], bool],
) -> Iterator[PlaneProgress]:
    for number, plane in enumerate(planes, start=1):
        if number > 1 and stop_requested():
            return
        try:
            steps = first if number == 1 else begin(plane)
            for progress in steps:
                _fill(out, axes, plane, progress, output)
                yield PlaneProgress(plane, number, len(planes), progress)
        except (ValueError, FloatingPointError) as error:
            raise _of_plane(error, plane) from error


def _begin_warm(
    begin_at: Callable[[Plane, Settings, WarmStart | None], Iterator[Progress]],
    neighbours: Neighbours,
    plane: Plane,
    image: NDArray,
    settings: Settings,
) -> Iterator[Progress]:
    """Begin a plane where its neighbour ended, or afresh, and remember where it ends."""
    start = neighbours.start(plane, image)
    steps = begin_at(plane, settings if start is None else shorten(settings), start)

    def remember() -> Iterator[Progress]:
        for progress in steps:
            if progress.result is not None:
                neighbours.remember(plane, image, progress.result)
            yield progress

    return remember()


def _run_on_cluster(
    axes: Axes,
    planes: list[Plane],
    arguments: Iterable[tuple[Any, ...]],
    client: Any,
    out: Any,
    output: str,
    stop_requested: Callable[[], bool],
) -> Iterator[PlaneProgress]:
    outcomes = run_tasks(_restore_plane, arguments, client=client, devices=())
    for done, (number, outcome) in enumerate(outcomes, start=1):
        if isinstance(outcome, ValueError | FloatingPointError):
            raise _of_plane(outcome, planes[number]) from outcome
        if isinstance(outcome, Exception):
            raise outcome
        _fill(out, axes, planes[number], outcome, output)
        yield PlaneProgress(planes[number], done, len(planes), outcome)
        if stop_requested():
            return


def _restore_plane(
    image: NDArray,
    mask: NDArray | None,
    task: str,
    factor: int | None,
    settings: Settings | None,
    colours: bool,
    device: str,
) -> Progress:
    """Restore one plane on a worker: its device is the worker's own choice unless the settings name one."""
    (last,) = deque(
        restore_steps(image, mask, task, factor, settings, colours=colours, report_wanted=lambda: False), maxlen=1
    )
    assert last.result is not None
    return replace(last, result=replace(last.result, moments=()))


def _fill(out: Any, axes: Axes, plane: Plane, progress: Progress, output: str) -> None:
    image = None if progress.result is None else getattr(progress.result, output)
    if out is not None and image is not None:
        axes.write(out, plane, image)


def _of_plane(error: Exception, plane: Plane) -> Exception:
    """Return the same error, with a sentence that says which plane it is about."""
    place = plane.describe()
    return type(error)(f"plane {place}: {error}" if place else str(error))
