"""One image file in, one or more out: what is to be done with it, and what became of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image_files import TIFF_SUFFIXES, check_png, read_image
from ..measurement.task import find_task
from ..outputs import OUTPUTS, OutputKind, list_wanted
from ..settings import Settings
from ..whole_files import hide
from .file_plan import FileToRead, FileToWrite, is_output
from .image_stack import Stack
from .ome_zarr import holds_zarr
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
        check_plane_name(job.out, read_image(job.source))


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


def output_type(job: FileJob, name: str, source_type: np.dtype) -> np.dtype:
    """Return the pixel type in which an output is written."""
    return np.dtype(source_type if job.same_type and not OUTPUTS[name].is_signed else np.float32)


def enlarge_pixels(like: Stack, factor: int) -> Stack:
    """Return what a file says of its image as it is after super-resolution: the pixels are smaller."""
    sizes = {letter: size / (factor if letter in "YX" else 1) for letter, size in like.pixel_sizes.items()}
    return dataclasses.replace(like, pixel_sizes=sizes)


def check_plane_name(out: Path, picture: NDArray) -> None:
    """Check that a file of that name can hold a plane with such intensities.

    Raises
    ------
    ValueError
        If not.
    """
    if out.suffix.lower() == ".png":
        check_png(picture)
    elif out.suffix.lower() not in TIFF_SUFFIXES:
        raise ValueError(f"OUT is {str(out)!r}; end it in .tif or .png.")
