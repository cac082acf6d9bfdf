"""Restoring one file: held meanwhile, its plane or its stack, written whole or not at all."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from ..image_files import TIFF_SUFFIXES, read_image, read_mask, read_quantisation_table, write_png, write_tiff
from ..measurement.task import find_task
from ..pixel_type import as_dtype
from ..request import NO_REPORTS, Hooks, Request
from .axes import Plane, find_axes
from .file_job import (
    FileJob,
    FileOutcome,
    check_plane_name,
    enlarge_pixels,
    folder_of_planes,
    open_if_stack,
    output_type,
    summarise,
)
from .file_plan import check_files
from .image_stack import Stack
from .output_lock import hold_outputs
from .stack_files import open_stack

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
        Of a plane, a stop writes the best so far; of a stack, it keeps the planes that are done for a job that resumes.
    keep_stopped : bool
        Whether a plane that was stopped is written; if not, a run that resumes will do it again.
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
        If it was stopped, and what there was is not written.
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
        opened = open_if_stack(job)
        if opened is not None:
            from .stack_job import restore_stack_file

            return restore_stack_file(job, opened, watch, hooks, client)
        return _restore_plane_file(job, watch, hooks, keep_stopped)


def are_outputs_there(job: FileJob) -> bool:
    """Return whether all outputs are there, and no interrupted run of the same job was about to replace them."""
    if not all(path.exists() for path in job.outputs.values()):
        return False
    if not folder_of_planes(job.out).is_dir():
        return True
    from .stack_job import is_unfinished

    return not is_unfinished(job)


def _restore_plane_file(
    job: FileJob,
    watch: Callable[[Any], None],
    hooks: Hooks,
    keep_stopped: bool,
) -> FileOutcome:
    from ..restoration import restore_steps
    from .stack import PlaneProgress
    from .tiles import restore_tiles
    from .tiling import plan_tiles

    start = time.perf_counter()
    picture = read_image(job.source)
    check_plane_name(job.out, picture)
    like = open_stack(job.source) if job.source.suffix.lower() in TIFF_SUFFIXES else None
    mask = None if job.mask is None else read_mask(job.mask)
    table = read_quantisation_table(job.source) if find_task(job.task).takes("quantisation_table") else None
    plane = next(find_axes(picture.shape[:2]).planes())
    result = None
    given = {"factor": job.factor, "quantisation_table": table}
    request = Request(job.task, job.settings, {name: value for name, value in given.items() if value is not None})
    tiling = plan_tiles(picture.shape, request, job.memory)
    if tiling is None:
        steps = restore_steps(picture, mask, **request.arguments, **hooks.arguments)
    else:
        part_of_mask = None if mask is None else lambda *place: mask[place]
        steps = restore_tiles(lambda *place: picture[place], part_of_mask, picture.shape, tiling, request, hooks)
    for progress in steps:
        watch(PlaneProgress(Plane(plane.index, {}), 1, 1, progress))
        result = progress.result
    assert result is not None
    left_out = tuple(name for name in job.outputs if getattr(result, name) is None)
    if (left_out or result.was_stopped) and not keep_stopped:
        raise InterruptedError("it was stopped before its end, and not written.")
    warnings = []
    origin = {"path": str(job.source.resolve()), "layer": job.source.name}
    for name, path in job.outputs.items():
        layer: NDArray | None = getattr(result, name)
        if layer is None:
            warnings.append(f"{name} was not made, because the run was stopped before it.")
            continue
        is_png = path.suffix.lower() == ".png"
        pixels, clipped = as_dtype(layer, picture.dtype if is_png else output_type(job, name, picture.dtype))
        record = result.record.of_output(name, pixels, clipped, **origin)
        if is_png:
            write_png(path, pixels, picture.dtype, record.as_dict())
        else:
            if clipped:
                warnings.append(f"{name}: {clipped} pixels were clipped to the range of {pixels.dtype}.")
            sizes, unit = _pixel_sizes(like, job.factor or 1)
            write_tiff(path, pixels, record.as_dict(), pixel_sizes=sizes, unit=unit)
    return summarise([result.record.as_dict()], time.perf_counter() - start, tuple(warnings), left_out)


def _pixel_sizes(like: Stack | None, factor: int) -> tuple[tuple[float, float] | None, str]:
    if like is None or not {"Y", "X"} <= set(like.pixel_sizes):
        return None, "µm"
    sizes = enlarge_pixels(like, factor).pixel_sizes
    return (sizes["Y"], sizes["X"]), like.units.get("X", "µm")
