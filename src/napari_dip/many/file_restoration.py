"""Restoring one file: held meanwhile, its planes one by one, written whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image_files import is_png
from ..pixel_type import as_dtype
from ..record import Record
from ..request import NO_REPORTS, Hooks
from .file_job import FileJob, FileOutcome, OpenedJob, folder_of_planes, open_job
from .file_plan import check_files
from .image_stack import MaskedStack
from .kept_planes import HeldPlane, KeptPlanes, has_kept_planes
from .output_lock import hold_outputs
from .stack_files import open_mask, write_stack
from .tiling import plan_tiles
from .warm_start import Neighbours

_SECONDS_FOR_CLEARING = 0.5  # a run that begins holds what killed ones have left, for a moment, to clear it away


class OutputsThere(Exception):
    """The outputs are there, and are kept."""


def restore_file(
    job: FileJob,
    *,
    watch: Callable[[Any], None] = lambda progress: None,
    hooks: Hooks = NO_REPORTS,
    keep_stopped: bool = True,
    keep_existing: bool = False,
    overwrite: bool = False,
    seconds_to_wait: float = _SECONDS_FOR_CLEARING,
    client: Any = None,
) -> FileOutcome:
    """Restore one file and write its outputs, whole or not at all.

    Parameters
    ----------
    job : FileJob
    watch : callable
        Is given every ``PlaneProgress``.
    hooks : Hooks
        Of a single image, a stop writes the best so far; of a stack, it keeps the planes that are done for a job that
        resumes.
    keep_stopped : bool
        Whether a single image that was stopped is written; if not, a run that resumes will do it again.
    keep_existing : bool
        Whether outputs that are there are kept.
    overwrite : bool
        Whether outputs that are there may be replaced; of a job that resumes, those that napari-dip wrote always are.
    seconds_to_wait : float
        For another process that is at work on the outputs.
    client : distributed.Client, optional
        Whose workers share the planes of a stack.

    Raises
    ------
    ValueError, TypeError, OSError
        In a sentence that says what is wrong.
    InterruptedError
        If it was stopped, and what there was is not written; planes of a stack are kept for a job that resumes.
    BlockingIOError
        If another process is at work on the outputs.
    OutputsThere
        If they are kept.
    """
    with hold_outputs(job.outputs.values(), seconds_to_wait):
        # again: since the run was checked, another may have written here
        check_files(job.files_to_read, job.files_to_write, overwrite=overwrite, resume=job.resume)
        if keep_existing and are_outputs_there(job):
            raise OutputsThere
        start = time.perf_counter()
        opened = open_job(job)
        opened.check_outputs()
        kept = _restore(opened, watch, hooks, keep_stopped, None if opened.stack.is_alone else client)
        records = [kept.record(plane) for plane in opened.axes.planes()]
        warnings = [*kept.notes, *_write_outputs(opened, kept, records)]
        kept.drop()
    reasons = [each.stop_reason for each in records]
    noise = [each.noise for each in records if each.noise is not None]
    return FileOutcome(
        planes=len(records),
        step=int(np.median([each.step for each in records])),
        stop_reason=max(reasons, key=reasons.count),
        noise=float(np.median(noise)) if noise else None,
        seconds=time.perf_counter() - start,
        device=records[0].device,
        warnings=tuple(warnings),
        left_out=tuple(kept.left_out),
    )


def are_outputs_there(job: FileJob) -> bool:
    """Return whether all outputs are there, and no interrupted run of the same job was about to replace them."""
    if not all(path.exists() for path in job.outputs.values()):
        return False
    if not folder_of_planes(job.out).is_dir():
        return True
    try:
        opened = open_job(job)
    except ValueError:
        return True
    return opened.stack.is_alone or not has_kept_planes(opened.job, opened.axes)


def _restore(
    opened: OpenedJob, watch: Callable[[Any], None], hooks: Hooks, keep_stopped: bool, client: Any
) -> KeptPlanes | HeldPlane:
    """Restore the planes that are not yet done; return them all."""
    from .stack import restore_planes

    job, axes, is_alone = opened.job, opened.axes, opened.stack.is_alone
    stack = MaskedStack(opened.stack.array, axes, None if job.mask is None else open_mask(job.mask))
    neighbours = None if job.warm_start is None else Neighbours(axes, job.warm_start)
    planned = None if client is not None else plan_tiles(axes.plane_shape, job.request, job.memory)
    is_free = client is None and job.memory is None and neighbours is None
    if is_alone:
        kept: KeptPlanes | HeldPlane = HeldPlane(job, planned)
    else:
        kept = KeptPlanes(job, stack, planned, is_free=is_free)
        if neighbours is not None:
            kept.recall(neighbours)
    planes = list(axes.planes())
    for each in restore_planes(
        stack, [plane for plane in planes if not kept.has(plane)], job.request, hooks, tiling=kept.tiling,
        neighbours=neighbours, client=client,
    ):  # fmt: skip
        if each.result is not None:
            # a stop ends the plane that is at work here, not those that a cluster has finished
            was_stopped = client is None and hooks.stop_requested()
            is_whole = not was_stopped and all(getattr(each.result, name) is not None for name in job.outputs)
            if is_whole or (is_alone and keep_stopped):
                kept.keep(each.plane, each.result)
        watch(each)
    done = sum(map(kept.has, planes))
    if done == len(planes):
        return kept
    if is_alone:
        raise InterruptedError("it was stopped before its end, and not written.")
    how_far = f"{job.source.name} was stopped after {done} of {len(planes)} planes"
    raise InterruptedError(" ".join([f"{how_far}, which are kept: go on with --resume.", *kept.notes]))


def _write_outputs(opened: OpenedJob, kept: KeptPlanes | HeldPlane, records: Sequence[Record]) -> Iterator[str]:
    """Write each output as one file; yield what is to be said of it."""
    job, axes = opened.job, opened.axes
    record = records[0]
    if not opened.stack.is_alone:
        places = (plane.place for plane in axes.planes())
        record = record.of_stack(
            axes.letters, axes.shape, list(zip(places, records, strict=True)), channels=axes.channels,
            warm_start=job.warm_start,
        )  # fmt: skip
    for name, path in job.outputs.items():
        if name in kept.left_out:
            yield f"{name} was not made, because the run was stopped before it."
            continue
        dtype = opened.pixel_type(name)
        # counted before they are written: the record comes first in the file
        clipped = sum(some for _, some in _read_output(opened, kept, name))
        of_this = record.of_output(
            name, np.empty(0, dtype), clipped, path=str(job.source.resolve()), layer=job.source.name
        )
        pages = (page for image, _ in _read_output(opened, kept, name) for page in opened.pages(image))
        write_stack(path, pages, opened.shape(name), dtype, opened.describe(name), opened.letters, of_this.as_dict())
        if clipped and not is_png(path):
            yield f"{name}: {clipped} pixels were clipped to the range of {dtype}."


def _read_output(opened: OpenedJob, kept: KeptPlanes | HeldPlane, name: str) -> Iterator[tuple[NDArray, int]]:
    """Read an output plane by plane, in the pixel type in which it is written, and how many pixels were clipped."""
    return (as_dtype(kept.image(name, plane), opened.pixel_type(name)) for plane in opened.axes.planes())
