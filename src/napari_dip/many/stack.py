"""restore_stack(): the planes of a stack, one by one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..measurement.task import find_task
from ..outcome import Progress, Restoration
from ..pixel_type import as_dtype
from ..request import Hooks, Request
from ..restoration import restore_steps
from ..settings import Settings
from .axes import Axes, Plane, find_axes
from .image_stack import MaskedStack, UnreadablePixels, of_plane
from .stack_files import open_stack
from .tasks import run_tasks
from .tiles import restore_tiles
from .tiling import Tiling, plan_tiles
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
    quantisation_table: ArrayLike | None = None,
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
        Any number of axes; a numpy, dask or zarr array, or anything that has a shape and can be indexed. What is masked
        in a masked array is missing. Or the path of a TIFF, OME-TIFF, OME-Zarr (its finest level) or PNG.
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
        sizes, times the factor. If it is not of float32, values are rounded and clipped as ``as_dtype`` does; where it
        has whole numbers, pixels that were not restored (of a tiled plane that was stopped) stay as they were.
    skip : callable
        Asked at the call of every plane: whether it is left out, for instance because it is done.
    client : distributed.Client, optional
        Whose workers share the planes, which then come as they are done; there are no reports before their results,
        nor moments of them. A stop yields no more planes. It may be without a worker, or its scheduler without an
        answer, for 30 seconds.
    memory : float, optional
        Bytes that a plane may take; one that would take more is restored in overlapping tiles, of which its reports
        are. By default most of what the device has free. (On a cluster planes are not tiled.)
    quantisation_table : array, optional
        As ``restore`` takes it, of every plane.
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
    ConnectionError
        If the cluster has no worker or the scheduler is gone.
    """
    if isinstance(stack, str | PathLike):
        opened = open_stack(Path(stack))
        stack, axes = opened.array, axes or opened.axes
    stack, mask = (each if each is None or hasattr(each, "shape") else np.asarray(each) for each in (stack, mask))
    found = find_axes(stack.shape, axes, channels)
    chosen = [plane for plane in found.planes(planes) if not skip(plane)]
    request = Request(
        task,
        settings or Settings(),
        find_task(task).read_parameters({"factor": factor, "quantisation_table": quantisation_table}),
        colours=not found.takes_channels_together,
    )
    if out is not None:
        wanted = tuple(
            length * (request.enlargement if letter in "YX" else 1)
            for letter, length in zip(found.letters, found.shape, strict=True)
        )
        if tuple(out.shape) != wanted:
            raise ValueError(f"out has shape {tuple(out.shape)}; what is restored has {wanted}.")
        if np.dtype(out.dtype).kind not in "buif":
            raise TypeError(f"out has dtype {out.dtype}; give an array of real numbers, such as float32.")
        if isinstance(out, np.ndarray) and not out.flags.writeable:
            raise ValueError("out cannot be written; give an array that can.")
    tiling = None if client is not None else plan_tiles(found.plane_shape, request, memory)
    neighbours = None if warm_start is None else Neighbours(found, warm_start)
    hooks = Hooks(stop_requested, report_wanted, quick_estimates)
    masked = MaskedStack(stack, found, mask)
    steps = restore_planes(masked, chosen, request, hooks, tiling=tiling, neighbours=neighbours, client=client)
    return steps if out is None else _filling(out, found, find_task(task).main_output, steps)


def restore_planes(
    stack: MaskedStack,
    planes: list[Plane],
    request: Request,
    hooks: Hooks,
    *,
    tiling: Tiling | None,
    neighbours: Neighbours | None,
    client: Any,
) -> Iterator[PlaneProgress]:
    """Restore some planes of a stack, as ``restore_stack`` does.

    Parameters
    ----------
    stack : MaskedStack
    planes : list of Plane
    request : Request
        How each is to be restored.
    hooks : Hooks
    tiling : Tiling, optional
        Of every plane.
    neighbours : Neighbours, optional
        Who remembers where planes ended, if those after them begin there.
    client : distributed.Client, optional

    Raises
    ------
    ValueError, TypeError
        As ``restore_stack``.
    """
    if neighbours is not None and (client is not None or tiling is not None):
        raise ValueError("planes that begin where others ended cannot be shared out or tiled; leave warm_start None.")

    def begin(plane: Plane) -> Iterator[Progress]:
        if tiling is not None:
            return restore_tiles(stack, plane, tiling, request, hooks)
        image, mask = stack.read(plane), stack.read_mask(plane)
        if neighbours is None:
            return restore_steps(image, mask, **request.arguments, **hooks.arguments)
        start = neighbours.start(plane, image)
        how = request if start is None else replace(request, settings=shorten(request.settings))
        steps = restore_steps(image, mask, **how.arguments, start=start, keep_network=True, **hooks.arguments)
        return _remember(neighbours, plane, image, steps)

    if not planes:
        return iter(())
    if client is not None:
        arguments = ((stack.read(plane), stack.read_mask(plane), request) for plane in planes)
        return _run_on_cluster(planes, arguments, client, hooks.stop_requested)
    return _run(planes, begin(planes[0]), begin, hooks.stop_requested)


def _run(
    planes: list[Plane],
    first: Iterator[Progress],
    begin: Callable[[Plane], Iterator[Progress]],
    stop_requested: Callable[[], bool],
) -> Iterator[PlaneProgress]:
    for number, plane in enumerate(planes, start=1):
        if number > 1 and stop_requested():
            return
        try:
            for progress in first if number == 1 else begin(plane):
                yield PlaneProgress(plane, number, len(planes), progress)
        except UnreadablePixels:  # which say themselves where they are
            raise
        except (ValueError, FloatingPointError) as error:
            raise of_plane(error, plane) from error


def _remember(neighbours: Neighbours, plane: Plane, image: NDArray, steps: Iterator[Progress]) -> Iterator[Progress]:
    """Remember where a plane ends."""
    for progress in steps:
        if progress.result is not None:
            neighbours.remember(plane, image, progress.result)
        yield progress


def _run_on_cluster(
    planes: list[Plane], arguments: Iterable[tuple[Any, ...]], client: Any, stop_requested: Callable[[], bool]
) -> Iterator[PlaneProgress]:
    outcomes = run_tasks(_restore_plane, arguments, client=client, devices=(), stop_requested=stop_requested)
    for done, (number, outcome) in enumerate(outcomes, start=1):
        if isinstance(outcome, ValueError | FloatingPointError):
            raise of_plane(outcome, planes[number]) from outcome
        if isinstance(outcome, Exception):
            raise outcome
        yield PlaneProgress(planes[number], done, len(planes), outcome)


def _restore_plane(image: NDArray, mask: NDArray | None, request: Request, device: str) -> Progress:
    """Restore one plane on a worker: its device is the worker's own choice unless the settings name one."""
    (last,) = deque(restore_steps(image, mask, **request.arguments, report_wanted=lambda: False), maxlen=1)
    assert last.result is not None
    return replace(last, result=replace(last.result, moments=()))


def _filling(out: Any, axes: Axes, output: str, steps: Iterator[PlaneProgress]) -> Iterator[PlaneProgress]:
    """Write planes into an array as they are done; pixels that are NaN leave whole numbers as they were."""
    for each in steps:
        image = None if each.result is None else getattr(each.result, output)
        if image is not None:
            dtype, known = np.dtype(out.dtype), np.isfinite(image)
            if dtype.kind == "f" or known.all():
                axes.write(out, each.plane, as_dtype(image, dtype)[0])
            else:
                as_they_were = axes.read(out, each.plane).astype(dtype)
                whole = as_dtype(np.where(known, image, 0), dtype)[0]
                axes.write(out, each.plane, np.where(known, whole, as_they_were))
        yield each
