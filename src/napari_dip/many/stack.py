"""restore_stack(): restore a stack plane by plane."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..measurement.task import find_task
from ..outcome import Progress, Restoration
from ..pixel_type import as_dtype
from ..request import Hooks, Neighbours, Request
from ..restoration import restore_steps
from ..settings import Settings
from .axes import Axes, Plane, find_axes
from .image_stack import MaskedStack, UnreadablePixels, name_plane
from .neighbours import find_neighbour_axis
from .stack_files import open_stack
from .tasks import run_tasks
from .tiles import restore_tiles
from .tiling import Tiling, plan_tiles
from .warm_start import LastNetworks, shorten


@dataclass(frozen=True, slots=True, eq=False)
class PlaneProgress:
    """The progress of a stack.

    Attributes
    ----------
    plane : Plane
        The current plane; ``plane.index`` is its index in the stack.
    number, count : int
        Its number, from 1, and how many planes there are.
    progress : Progress
        ``progress.result`` is None until the plane is finished.
    """

    plane: Plane
    number: int
    count: int
    progress: Progress

    @property
    def result(self) -> Restoration | None:
        """The result of the plane; None until it is finished."""
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
    neighbours: str | None = "auto",
    out: Any = None,
    skip: Callable[[Plane], bool] = lambda plane: False,
    client: Any = None,
    memory: float | None = None,
    quantisation_table: ArrayLike | None = None,
    psf: ArrayLike | None = None,
    stop_requested: Callable[[], bool] = lambda: False,
    report_wanted: Callable[[], bool] = lambda: False,
    quick_estimates: bool = False,
) -> Iterator[PlaneProgress]:
    """Restore a stack plane by plane; check as much as possible at the call.

    To remove noise or fill in missing pixels, neighbouring planes help one another. Only the current plane and its
    neighbours are read, and no result is kept here, so the stack and ``out`` may be larger than memory. A plane's
    result depends on the pixels of these planes alone, whatever else is restored. You can stop iterating at any plane;
    ``out`` keeps the finished ones.

    Parameters
    ----------
    stack : array or path
        With any number of axes: a numpy, dask or zarr array, or anything that has a shape and can be indexed. In a
        masked array, masked pixels are missing. Or the path of a TIFF, OME-TIFF, OME-Zarr (its finest level) or PNG.
    axes : str, optional
        One letter per axis, such as "TCYX": Y and X are rows and columns, S is colour, C is channels; all others (T, Z
        ...) are stepped through. Default: as the file says; for an array, a plane, grey or RGB.
    mask : array, optional
        True = missing: ``(h, w)`` for all planes, or the stack's shape, with or without channels.
    task, factor, settings
        As in ``restore``.
    channels : {"apart", "together"}
        Together: one network draws all channels and learns their shared structure; each has its own intensity range.
    planes : mapping, optional
        The planes to restore: a slice, an integer or a sequence of integers by letter, such as ``{"T": slice(0, 10)}``.
    warm_start : str, optional
        The letter of an axis, such as "T" or "Z", along which a plane starts from the network of the plane before it,
        if the two differ by little more than their noise; otherwise it starts afresh. Off by default, because a plane
        then depends on those before it (docs/many_images.md has figures). Not for tiles or clusters.
    neighbours : "auto", str or None
        Along which axis planes help one another, up to two on each side: as many as lower the error on pixels that are
        hidden meanwhile, none if none does. "auto": time (T) or depth (Z), whichever there is; of both, the one along
        which planes differ less; without these, the only axis that is stepped through, if it has at least 5 planes and
        is not C. None: every plane comes out as if ``restore`` had restored it alone. Only for removing noise and for
        filling in missing pixels, where up to two on each side help or none.
    out : array, optional
        Filled with ``restored`` (for the task "enhance", ``detail_enhanced``) as planes are finished. It has the
        stack's axes and sizes, times the factor. If it is not float32, values are rounded and clipped as in
        ``as_dtype``; in an integer array, pixels that were not restored (in a tiled plane that was stopped) stay as
        they were.
    skip : callable
        Called with every plane before the first one is restored; planes for which it returns True are left out, for
        example because they are finished.
    client : distributed.Client, optional
        Its workers share the planes. Results then come in the order in which they are finished, without reports or
        moments. A stop yields no more planes. If there is no worker, or no answer from the scheduler, for 30 seconds,
        the run ends.
    memory : float, optional
        The most bytes that a plane may take; a larger one is restored in overlapping tiles, and reports are about the
        current tile. Default: most of the device's free memory. (On a cluster, planes are not tiled.)
    quantisation_table, psf : array, optional
        As in ``restore``, for every plane. A ``(k, l, c)`` PSF, one for each channel, needs ``channels="together"``.
    stop_requested, report_wanted, quick_estimates
        As in ``restore_steps``, for the current plane. A stop keeps the best result of this plane and ends.

    Yields
    ------
    PlaneProgress
        For every plane, the requested reports and then the result.

    Raises
    ------
    ValueError, TypeError
        As in ``restore``: at the call, or at a plane if the fault is in its pixels.
    ConnectionError
        If the cluster has no workers or the scheduler is lost.
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
        find_task(task).read_parameters({"factor": factor, "quantisation_table": quantisation_table, "psf": psf}),
        colours=not found.takes_channels_together,
    )
    if out is not None:
        wanted = tuple(
            length * (request.enlargement if letter in "YX" else 1)
            for letter, length in zip(found.letters, found.shape, strict=True)
        )
        if tuple(out.shape) != wanted:
            raise ValueError(f"out has shape {tuple(out.shape)}, but the result has {wanted}.")
        if np.dtype(out.dtype).kind not in "buif":
            raise TypeError(f"out has dtype {out.dtype}; give an array of real numbers, such as float32.")
        if isinstance(out, np.ndarray) and not out.flags.writeable:
            raise ValueError("out is read-only; give a writable array.")
    along = find_neighbour_axis(stack, found, request, neighbours)
    tiling = None
    if client is None:
        tiling = plan_tiles(found.plane_shape, request, memory, neighbours=along is not None)
    networks = None if warm_start is None else LastNetworks(found, warm_start)
    hooks = Hooks(stop_requested, report_wanted, quick_estimates)
    masked = MaskedStack(stack, found, mask, along)
    steps = restore_planes(masked, chosen, request, hooks, tiling=tiling, networks=networks, client=client)
    return steps if out is None else _filling(out, found, find_task(task).main_output, steps)


def restore_planes(
    stack: MaskedStack,
    planes: list[Plane],
    request: Request,
    hooks: Hooks,
    *,
    tiling: Tiling | None,
    networks: LastNetworks | None,
    client: Any,
) -> Iterator[PlaneProgress]:
    """Restore some planes of a stack, as ``restore_stack`` does.

    Parameters
    ----------
    stack : MaskedStack
    planes : list of Plane
    request : Request
        How to restore each plane.
    hooks : Hooks
    tiling : Tiling, optional
        For every plane.
    networks : LastNetworks, optional
        Remembers the networks for a warm start.
    client : distributed.Client, optional

    Raises
    ------
    ValueError, TypeError
        As in ``restore_stack``.
    """
    if networks is not None and (client is not None or tiling is not None):
        raise ValueError("a warm start does not work with tiles or on a cluster; leave out warm_start.")

    def begin(plane: Plane) -> Iterator[Progress]:
        if tiling is not None:
            return restore_tiles(stack, plane, tiling, request, hooks)
        image, mask = stack.read(plane), stack.read_mask(plane)
        around = stack.read_neighbours(plane)
        if networks is None:
            return restore_steps(image, mask, **request.arguments, neighbours=around, **hooks.arguments)
        start = networks.start(plane, image)
        adapted = request if start is None else replace(request, settings=shorten(request.settings))
        steps = restore_steps(
            image, mask, **adapted.arguments, start=start, neighbours=around, keep_network=True, **hooks.arguments
        )
        return _remember(networks, plane, image, steps)

    if not planes:
        return iter(())
    if client is not None:
        arguments = (
            (stack.read(plane), stack.read_mask(plane), stack.read_neighbours(plane), request) for plane in planes
        )
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
        except UnreadablePixels:  # already names the plane
            raise
        except (ValueError, FloatingPointError) as error:
            raise name_plane(error, plane) from error


def _remember(networks: LastNetworks, plane: Plane, image: np.ndarray, steps: Iterator[Progress]) -> Iterator[Progress]:
    """Pass on the progress of a plane, and remember its network at the end."""
    for progress in steps:
        if progress.result is not None:
            networks.remember(plane, image, progress.result)
        yield progress


def _run_on_cluster(
    planes: list[Plane], arguments: Iterable[tuple[Any, ...]], client: Any, stop_requested: Callable[[], bool]
) -> Iterator[PlaneProgress]:
    outcomes = run_tasks(_restore_plane, arguments, client=client, devices=(), stop_requested=stop_requested)
    for done, (number, outcome) in enumerate(outcomes, start=1):
        if isinstance(outcome, ValueError | FloatingPointError):
            raise name_plane(outcome, planes[number]) from outcome
        if isinstance(outcome, Exception):
            raise outcome
        yield PlaneProgress(planes[number], done, len(planes), outcome)


def _restore_plane(
    image: np.ndarray, mask: np.ndarray | None, around: Neighbours | None, request: Request, device: str
) -> Progress:
    """Restore one plane on a worker, which chooses its own device unless the settings name one."""
    steps = restore_steps(image, mask, **request.arguments, neighbours=around, report_wanted=lambda: False)
    (last,) = deque(steps, maxlen=1)
    assert last.result is not None
    return replace(last, result=replace(last.result, moments=()))


def _filling(out: Any, axes: Axes, output: str, steps: Iterator[PlaneProgress]) -> Iterator[PlaneProgress]:
    """Write planes into an array as they are finished; NaN pixels leave an integer array unchanged."""
    for each in steps:
        image = None if each.result is None else getattr(each.result, output)
        if image is not None:
            dtype, known = np.dtype(out.dtype), np.isfinite(image)
            if dtype.kind == "f" or known.all():
                axes.write(out, each.plane, as_dtype(image, dtype)[0])
            else:
                before = axes.read(out, each.plane).astype(dtype)
                rounded = as_dtype(np.where(known, image, 0), dtype)[0]
                axes.write(out, each.plane, np.where(known, rounded, before))
        yield each
