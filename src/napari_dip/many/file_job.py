"""One image file in, one or more out: a plane, or all planes of a stack."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image_files import (
    TIFF_SUFFIXES,
    check_png,
    read_image,
    read_mask,
    read_quantisation_table,
    write_png,
    write_tiff,
)
from ..measurement.task import find_task
from ..outputs import OUTPUTS, OutputKind, list_wanted
from ..pixel_type import as_dtype
from ..settings import Settings
from ..whole_files import hide
from .axes import Plane, find_axes
from .file_plan import FileToRead, FileToWrite, is_output
from .image_stack import Stack
from .ome_zarr import holds_zarr
from .output_lock import hold_outputs
from .stack_files import is_zarr, open_stack


@dataclass(frozen=True, slots=True)
class FileJob:
    """What is to be done with one file.

    Attributes
    ----------
    source, out : Path
        ``out`` ends in .tif, .png, .ome.tif or .zarr.
    mask : Path or None
        Not 0 = missing: of one plane, or of the stack.
    task, factor, settings
        As ``restore`` takes them.
    axes, channels
        As ``restore_stack`` takes them.
    memory, warm_start
        As ``restore_stack`` takes them.
    same_type : bool
        Whether the outputs have the pixel type of the source; else float32.
    resume : bool
        Whether to go on with the planes that an interrupted run has left.
    """

    source: Path
    out: Path
    mask: Path | None = None
    task: str = "denoise"
    factor: int | None = None
    settings: Settings = field(default_factory=Settings)
    axes: str | None = None
    channels: str = "apart"
    memory: float | None = None
    warm_start: str | None = None
    same_type: bool = False
    resume: bool = False

    @property
    def outputs(self) -> dict[str, Path]:
        """The results that are wanted, by the fields of ``Restoration``, and their files."""
        main, *further = list_wanted(find_task(self.task), self.settings)
        return {main.name: self.out} | {kind.name: self._beside(kind) for kind in further}

    @property
    def files_to_read(self) -> list[FileToRead]:
        """The image and its mask."""
        mask = [] if self.mask is None else [FileToRead(self.mask, "the mask")]
        return [FileToRead(self.source, "the image"), *mask]

    @property
    def files_to_write(self) -> list[FileToWrite]:
        """The files of ``outputs``."""
        return [
            FileToWrite(path, f"{OUTPUTS[name].words} of {self.source}", partial(is_output, name=name))
            for name, path in self.outputs.items()
        ]

    def _beside(self, kind: OutputKind) -> Path:
        lower = self.out.name.lower()
        suffix = next((each for each in (".ome.tif", ".ome.tiff") if lower.endswith(each)), self.out.suffix)
        stem = self.out.name[: len(self.out.name) - len(suffix)]
        suffix = ".tif" if kind.is_signed and suffix.lower() == ".png" else suffix
        return self.out.with_name(f"{stem}_{kind.name}{suffix}")


class OutputsThere(Exception):
    """The outputs are there, and are kept."""


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What became of one file.

    Attributes
    ----------
    planes : int
    step : int
        That was chosen, of one plane; of several, their median.
    stop_reason : str
        The most frequent.
    noise : float or None
        Estimated deviation in the image's intensities, of several planes the median; None where none could be told.
    seconds : float
    device : str
    warnings : tuple of str
    left_out : tuple of str
        Outputs that were asked for and not made, because the run was stopped before them.
    """

    planes: int
    step: int
    stop_reason: str
    noise: float | None
    seconds: float
    device: str
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def summarise(
    records: list[dict[str, Any]], seconds: float, warnings: tuple[str, ...] = (), left_out: tuple[str, ...] = ()
) -> FileOutcome:
    """Return what became of a file, by the records of its planes."""
    reasons = [each["stop_reason"] for each in records]
    noise = [each["noise"] for each in records if each["noise"] is not None]
    return FileOutcome(
        planes=len(records),
        step=int(np.median([each["step"] for each in records])),
        stop_reason=max(reasons, key=reasons.count),
        noise=float(np.median(noise)) if noise else None,
        seconds=seconds,
        device=records[0]["device"],
        warnings=warnings,
        left_out=left_out,
    )


def restore_file(
    job: FileJob,
    *,
    watch: Callable[[Any], None] = lambda progress: None,
    stop_requested: Callable[[], bool] = lambda: False,
    report_wanted: Callable[[], bool] = lambda: False,
    keep_stopped: bool = True,
    keep_existing: bool = False,
    seconds_to_wait: float = 0.0,
    client: Any = None,
) -> FileOutcome:
    """Restore one file and write its outputs, whole or not at all.

    Parameters
    ----------
    job : FileJob
    watch : callable
        Is given every ``PlaneProgress``.
    stop_requested, report_wanted : callable
        As ``restore_steps`` takes them. Of a plane, a stop writes the best so far; of a stack, it keeps the planes that
        are done for a job that resumes.
    keep_stopped : bool
        Whether a plane that was stopped is written; if not, a run that resumes will do it again.
    keep_existing : bool
        Whether outputs that are there are kept.
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
        if keep_existing and are_outputs_there(job):
            raise OutputsThere
        opened = open_if_stack(job)
        if opened is not None:
            from .stack_job import restore_stack_file

            return restore_stack_file(job, opened, watch, stop_requested, report_wanted, client)
        return _restore_plane_file(job, watch, stop_requested, report_wanted, keep_stopped)


def are_outputs_there(job: FileJob) -> bool:
    """Return whether all outputs are there, and no interrupted run of the same job was about to replace them."""
    if not all(path.exists() for path in job.outputs.values()):
        return False
    if not folder_of_planes(job.out).is_dir():
        return True
    from .stack_job import is_unfinished

    return not is_unfinished(job)


def folder_of_planes(out: Path) -> Path:
    """Return where the planes of an unfinished output are."""
    return hide(out, "planes")


def check_names(job: FileJob) -> None:
    """Check, before anything is computed, that the source can be read and the outputs can hold it.

    Raises
    ------
    ValueError
        If not.
    """
    opened = open_if_stack(job)
    if opened is None:
        _check_plane_name(job.out, read_image(job.source))


def open_if_stack(job: FileJob) -> Stack | None:
    """Return the source opened as a stack; None if it is one plane.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    of_zarr = is_zarr(job.source) or holds_zarr(job.source)
    if job.source.suffix.lower() not in TIFF_SUFFIXES and not of_zarr:
        return None
    opened = open_stack(job.source)
    shape = opened.array.shape
    if not of_zarr and not is_zarr(job.out) and job.axes is None:
        squeezed = [length for length in shape if length > 1]
        if len(squeezed) == 2 or (len(squeezed) == 3 and (opened.axes or "")[-1:] == "S"):
            return None
        if len(shape) == 3 and opened.axes is not None and "S" in opened.axes:
            return None  # colours stored plane by plane
    return opened


def _restore_plane_file(
    job: FileJob,
    watch: Callable[[Any], None],
    stop_requested: Callable[[], bool],
    report_wanted: Callable[[], bool],
    keep_stopped: bool,
) -> FileOutcome:
    from ..optimisation.stopping import StopReason
    from ..restoration import restore_steps
    from .stack import PlaneProgress
    from .tiles import restore_tiles
    from .tiling import plan_tiles

    start = time.perf_counter()
    picture = read_image(job.source)
    _check_plane_name(job.out, picture)
    like = open_stack(job.source) if job.source.suffix.lower() in TIFF_SUFFIXES else None
    mask = None if job.mask is None else read_mask(job.mask)
    table = read_quantisation_table(job.source) if find_task(job.task).knows_quantisation else None
    plane = next(find_axes(picture.shape[:2]).planes())
    result = None
    tiling = plan_tiles(picture.shape, job.settings, job.task, job.factor, job.memory)
    if tiling is None:
        steps = restore_steps(
            picture, mask, job.task, job.factor, job.settings, quantisation_table=table, stop_requested=stop_requested,
            report_wanted=report_wanted, quick_estimates=True,
        )  # fmt: skip
    else:
        steps = restore_tiles(
            lambda *place: picture[place], None if mask is None else lambda *place: mask[place], picture.shape, tiling,
            job.task, job.factor, job.settings, quantisation_table=table, stop_requested=stop_requested,
            report_wanted=report_wanted, quick_estimates=True,
        )  # fmt: skip
    for progress in steps:
        watch(PlaneProgress(Plane(plane.index, {}), 1, 1, progress))
        result = progress.result
    assert result is not None
    left_out = tuple(name for name in job.outputs if getattr(result, name) is None)
    if (left_out or result.stop_reason is StopReason.USER) and not keep_stopped:
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


def output_type(job: FileJob, name: str, source_type: np.dtype) -> np.dtype:
    """Return the pixel type in which an output is written."""
    return np.dtype(source_type if job.same_type and not OUTPUTS[name].is_signed else np.float32)


def enlarge_pixels(like: Stack, factor: int) -> Stack:
    """Return what a file says of its image as it is after super-resolution: the pixels are smaller."""
    sizes = {letter: size / (factor if letter in "YX" else 1) for letter, size in like.pixel_sizes.items()}
    return dataclasses.replace(like, pixel_sizes=sizes)


def _pixel_sizes(like: Stack | None, factor: int) -> tuple[tuple[float, float] | None, str]:
    if like is None or not {"Y", "X"} <= set(like.pixel_sizes):
        return None, "µm"
    sizes = enlarge_pixels(like, factor).pixel_sizes
    return (sizes["Y"], sizes["X"]), like.units.get("X", "µm")


def _check_plane_name(out: Path, picture: NDArray) -> None:
    if out.suffix.lower() == ".png":
        check_png(picture)
    elif out.suffix.lower() not in TIFF_SUFFIXES:
        raise ValueError(f"OUT is {str(out)!r}; end it in .tif or .png.")
