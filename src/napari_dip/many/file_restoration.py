"""Restore one file: lock its outputs, restore its planes one by one, write each output completely or not at all."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..image_files import is_png
from ..measurement.task import find_task
from ..pixel_type import as_dtype
from ..record import Record
from ..request import NO_REPORTS, Hooks
from .file_job import FileJob, FileOutcome, OpenedJob, find_planes_folder, open_job
from .file_plan import check_files
from .image_stack import MaskedStack
from .kept_planes import HeldPlane, KeptPlanes, has_kept_planes
from .output_lock import hold_outputs
from .stack_files import open_mask, read_stack_record, write_stack
from .tiling import plan_tiles
from .warm_start import LastNetworks

_SECONDS_FOR_CLEARING = 0.5  # another run that starts may lock the outputs for a moment to clear away leftovers
# settings of a record that tell nothing of what was asked for
_CHANGED_BY_RUNS = {"device", "snapshots", "chosen_step"}


class OutputsExist(Exception):
    """The outputs exist and are kept."""


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
    """Restore one file and write its outputs, completely or not at all.

    Parameters
    ----------
    job : FileJob
    watch : callable
        Called with every ``PlaneProgress``.
    hooks : Hooks
        A stop writes the best so far of a single image, and keeps the finished planes of a stack for a job that
        resumes.
    keep_stopped : bool
        Whether to write a single image that was stopped. If not, a run that resumes will restore it again.
    keep_existing : bool
        Whether to keep existing outputs.
    overwrite : bool
        Whether existing outputs may be replaced. A job that resumes may always replace those that napari-dip wrote.
    seconds_to_wait : float
        How long to wait for another process that works on the outputs.
    client : distributed.Client, optional
        Its workers share the planes of a stack.

    Raises
    ------
    ValueError, TypeError, OSError
        If the file cannot be restored; the message is a sentence.
    InterruptedError
        If the run was stopped and nothing was written; finished planes of a stack are kept for a job that resumes.
    BlockingIOError
        If another process is working on the outputs.
    OutputsExist
        If existing outputs are kept.
    """
    with hold_outputs(job.outputs.values(), seconds_to_wait):
        # checked again, because another run may have written here meanwhile
        check_files(job.files_to_read, job.files_to_write, overwrite=overwrite, resume=job.resume)
        if keep_existing and are_outputs_finished(job):
            raise OutputsExist
        start = time.perf_counter()
        opened = open_job(job)
        opened.check_outputs()
        kept = _restore(opened, watch, hooks, keep_stopped, None if opened.stack.is_single else client)
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
        helped=None if opened.neighbours is None else sum(each.neighbours > 0 for each in records),
        warnings=tuple(warnings),
        left_out=tuple(kept.left_out),
    )


def are_outputs_finished(job: FileJob) -> bool:
    """Return whether all outputs exist, and no interrupted run of the same job was about to replace them."""
    if not all(path.exists() for path in job.outputs.values()):
        return False
    if not find_planes_folder(job.out).is_dir():
        return True
    try:
        opened = open_job(job)
    except ValueError:
        return True
    return opened.stack.is_single or not has_kept_planes(opened.job, opened.axes, opened.neighbours)


def find_other_settings(job: FileJob) -> list[str]:
    """Return the names of what an output of an earlier run was made with, and this job would do differently."""
    document = read_stack_record(job.out)
    try:
        record = Record.from_dict({} if document is None else document)
        asked = find_task(job.request.task).read_parameters(job.request.parameters)
    except ValueError:  # it is of another version, or the job itself would fail
        return []
    if record.task != job.request.task:
        return ["task"]
    # what the file itself gave, as a JPEG's table, is no choice
    recorded = record.parameters
    names = [name for name, value in asked.items() if name not in recorded or not np.array_equal(recorded[name], value)]
    before, now = (dataclasses.asdict(each) for each in (record.settings, job.request.settings))
    # a network that did not start to learn was replaced by one with another seed
    ignored = _CHANGED_BY_RUNS | ({"seed"} if record.restarts else set())
    return names + [name for name in now if name not in ignored and before[name] != now[name]]


def _restore(
    opened: OpenedJob, watch: Callable[[Any], None], hooks: Hooks, keep_stopped: bool, client: Any
) -> KeptPlanes | HeldPlane:
    """Restore the planes that are not finished yet; return all planes."""
    from .stack import restore_planes

    job, axes, is_single = opened.job, opened.axes, opened.stack.is_single
    mask = None if job.mask is None else open_mask(job.mask)
    stack = MaskedStack(opened.stack.array, axes, mask, opened.neighbours)
    networks = None if job.warm_start is None else LastNetworks(axes, job.warm_start)
    planned = None
    if client is None:
        planned = plan_tiles(axes.plane_shape, job.request, job.memory, neighbours=opened.neighbours is not None)
    is_free = client is None and job.memory is None and networks is None
    if is_single:
        kept: KeptPlanes | HeldPlane = HeldPlane(job, planned)
    else:
        kept = KeptPlanes(job, stack, planned, is_free=is_free)
        if networks is not None:
            kept.load_networks(networks)
    planes = list(axes.planes())
    for each in restore_planes(
        stack, [plane for plane in planes if not kept.has(plane)], job.request, hooks, tiling=kept.tiling,
        networks=networks, client=client,
    ):  # fmt: skip
        if each.result is not None:
            # a stop cuts short the current plane here; planes that come from a cluster are finished
            was_stopped = client is None and hooks.stop_requested()
            is_finished = not was_stopped and all(getattr(each.result, name) is not None for name in job.outputs)
            if is_finished or (is_single and keep_stopped):
                kept.keep(each.plane, each.result)
        watch(each)
    done = sum(map(kept.has, planes))
    if done == len(planes):
        return kept
    if is_single:
        raise InterruptedError("the run was stopped before this image was finished; it was not written.")
    progress = f"{job.source.name} was stopped after {done} of {len(planes)} planes"
    raise InterruptedError(" ".join([f"{progress}, which are kept; add --resume to continue.", *kept.notes]))


def _write_outputs(opened: OpenedJob, kept: KeptPlanes | HeldPlane, records: Sequence[Record]) -> Iterator[str]:
    """Write each output to its file; yield warnings."""
    job, axes = opened.job, opened.axes
    record = records[0]
    if not opened.stack.is_single:
        places = (plane.place for plane in axes.planes())
        record = record.of_stack(
            axes.letters, axes.shape, list(zip(places, records, strict=True)), channels=axes.channels,
            warm_start=job.warm_start,
        )  # fmt: skip
    for name, path in job.outputs.items():
        if name in kept.left_out:
            yield f"{name} was not computed, because the run was stopped first."
            continue
        dtype = opened.pixel_type(name)
        # counted before writing, because the record comes first in the file
        clipped = sum(count for _, count in _read_output(opened, kept, name))
        output_record = record.of_output(
            name, np.empty(0, dtype), clipped, path=str(job.source.resolve()), layer=job.source.name
        )
        pages = (page for image, _ in _read_output(opened, kept, name) for page in opened.pages(image))
        write_stack(
            path, pages, opened.shape(name), dtype, opened.describe(name), opened.letters, output_record.as_dict()
        )
        if clipped and not is_png(path):
            yield f"{name}: {clipped} pixel{'' if clipped == 1 else 's'} clipped to the range of {dtype}."


def _read_output(opened: OpenedJob, kept: KeptPlanes | HeldPlane, name: str) -> Iterator[tuple[np.ndarray, int]]:
    """Yield an output's planes in the pixel type of its file, each with the number of clipped pixels."""
    return (as_dtype(kept.image(name, plane), opened.pixel_type(name)) for plane in opened.axes.planes())
