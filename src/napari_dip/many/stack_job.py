"""The planes of one stack file: each is kept as it is done, and all are written as one file at the end."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..pixel_type import as_dtype
from ..record import Record
from ..request import Hooks, Request
from .axes import Axes, Plane, find_axes
from .file_job import FileJob, FileOutcome, enlarge_pixels, folder_of_planes, open_if_stack, output_type, summarise
from .image_stack import Stack
from .kept_planes import KeptPlanes, has_kept_planes
from .stack import restore_planes
from .stack_files import check_stack_name, open_mask, write_stack
from .tiling import plan_tiles
from .warm_start import Neighbours


def restore_stack_file(
    job: FileJob,
    opened: Stack,
    watch: Callable[[Any], None],
    hooks: Hooks,
    client: Any = None,
) -> FileOutcome:
    """Restore the planes of a stack file that are not yet done, then write its outputs.

    Parameters are those of ``restore_file``, with the source as it was opened.

    Raises
    ------
    ValueError, TypeError, OSError
        As ``restore_file``.
    InterruptedError
        If it was stopped before all planes were done; they are kept for a job that resumes.
    """
    start = time.perf_counter()
    axes = find_axes(opened.array.shape, job.axes or opened.axes, job.channels)
    dtype = np.dtype(opened.array.dtype)
    shape, letters = _shape_of_file(axes, job.factor or 1)
    for name, path in job.outputs.items():
        check_stack_name(path, letters, output_type(job, name, dtype))
    _check_room(job.out, math.prod(shape) * sum(output_type(job, name, dtype).itemsize for name in job.outputs))
    mask = None if job.mask is None else open_mask(job.mask)
    neighbours = None if job.warm_start is None else Neighbours(axes, job.warm_start)
    parameters = {} if job.factor is None else {"factor": job.factor}
    request = Request(job.task, job.settings, parameters, colours=not axes.takes_channels_together)
    planned = None if client is not None else plan_tiles(axes.plane_shape, request, job.memory)
    if mask is not None:
        axes.check_mask(tuple(mask.shape))
    is_free = client is None and job.memory is None and neighbours is None
    kept = KeptPlanes(job, axes, opened.array, mask, planned, is_free=is_free)
    planes = list(axes.planes())
    if neighbours is not None:
        kept.recall(neighbours)
    to_do = [plane for plane in planes if not kept.has(plane)]
    for each in restore_planes(
        opened.array, axes, to_do, mask, request, hooks, tiling=kept.tiling, neighbours=neighbours, client=client
    ):
        # a stop ends the plane that is at work here, not those that a cluster has finished
        if each.result is not None and (client is not None or not hooks.stop_requested()):
            kept.keep(each.plane, each.result)
        watch(each)
    done = sum(map(kept.has, planes))
    if done < len(planes):
        sentences = [f"{job.source.name} was stopped after {done} of {len(planes)} planes, which are kept: go on with "
                     "--resume.", *kept.notes]  # fmt: skip
        raise InterruptedError(" ".join(sentences))
    records = [kept.record(plane) for plane in planes]
    records_of_planes = [(plane.place, Record.from_dict(each)) for plane, each in zip(planes, records, strict=True)]
    record = records_of_planes[0][1].of_stack(
        axes.letters,
        axes.shape,
        records_of_planes,
        channels=axes.channels,
        warm_start=job.warm_start and job.warm_start.upper(),
    )
    warnings = list(kept.notes)
    like = enlarge_pixels(opened, job.factor or 1)
    for name, path in job.outputs.items():
        pixel_type = output_type(job, name, dtype)
        # counted before they are written: the record comes first in the file
        clipped = sum(some for _, some in _read_kept(kept, name, planes, pixel_type))
        of_this = record.of_output(
            name, np.empty(0, pixel_type), clipped, path=str(job.source.resolve()), layer=job.source.name
        )
        pages = (
            page
            for image, _ in _read_kept(kept, name, planes, pixel_type)
            for page in (np.moveaxis(image, 2, 0) if axes.takes_channels_together else [image])
        )
        write_stack(path, pages, shape, pixel_type, like, letters, of_this.as_dict())
        if clipped:
            warnings.append(f"{name}: {clipped} pixels were clipped to the range of {pixel_type}.")
    kept.drop()
    return summarise(records, time.perf_counter() - start, tuple(warnings))


def _read_kept(
    kept: KeptPlanes, name: str, planes: Iterable[Plane], pixel_type: np.dtype
) -> Iterator[tuple[NDArray, int]]:
    """Read an output plane by plane, in the pixel type in which it is written, and how many pixels were clipped."""
    return (as_dtype(kept.image(name, plane), pixel_type) for plane in planes)


def _check_room(out: Path, size: int) -> None:
    """Check that outputs of so many bytes have room on their disk, before a file that promises too much is begun."""
    there = next(folder for folder in out.absolute().parents if folder.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise ValueError(f"the outputs take {size / 1e9:,.0f} GB; {free / 1e9:,.1f} GB are free where {out} is to be.")


def is_unfinished(job: FileJob) -> bool:
    """Return whether an interrupted run of the same job has left planes: its outputs may be old, or only some new."""
    if not folder_of_planes(job.out).is_dir():
        return False
    try:
        opened = open_if_stack(job)
        return opened is not None and has_kept_planes(
            job, find_axes(opened.array.shape, job.axes or opened.axes, job.channels)
        )
    except ValueError:
        return False


def _shape_of_file(axes: Axes, factor: int) -> tuple[tuple[int, ...], str]:
    """Return shape and letters of the file: planes come one after the other, in the order of ``Axes.planes``."""
    letters = axes.stepped + ("CYX" if axes.takes_channels_together else axes.whole)
    sizes = {letter: axes.size(letter) * (factor if letter in "YX" else 1) for letter in letters}
    return tuple(sizes.values()), letters
