"""One image file to restore: its job, its outputs and its outcome."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from ..image_files import is_png, read_image, read_quantisation_table
from ..measurement.task import find_task
from ..outputs import OUTPUTS, OutputKind, list_wanted
from ..request import Request
from ..whole_files import hide
from .axes import Axes, find_axes
from .file_plan import FileToRead, FileToWrite, is_output
from .image_stack import Stack
from .neighbours import find_neighbour_axis
from .ome_zarr import holds_zarr
from .stack_files import check_stack_name, is_zarr, open_stack


@dataclass(frozen=True, slots=True)
class FileJob:
    """What to do with one file.

    Attributes
    ----------
    source, out : Path
        ``out`` ends in .tif, .png, .ome.tif or .zarr.
    mask : Path or None
        A file that is not 0 where pixels are missing, for one plane or for the stack.
    request : Request
        How to restore each plane.
    axes, channels, memory, warm_start, neighbours
        As in ``restore_stack``.
    same_type : bool
        Whether the outputs get the pixel type of the source; otherwise float32.
    resume : bool
        Whether to continue with the planes that an interrupted run finished.
    """

    source: Path
    out: Path
    mask: Path | None = None
    request: Request = field(default_factory=Request)
    axes: str | None = None
    channels: str = "apart"
    memory: float | None = None
    warm_start: str | None = None
    neighbours: str | None = "auto"
    same_type: bool = False
    resume: bool = False

    @property
    def outputs(self) -> dict[str, Path]:
        """The file of each output that was requested, by its field in ``Restoration``."""
        main, *further = list_wanted(find_task(self.request.task), self.request.settings)
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
        stem, suffix = split_name(self.out)
        return self.out.with_name(f"{stem}_{kind.name}{'.tif' if kind.is_signed and is_png(self.out) else suffix}")


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """The outcome of one file.

    Attributes
    ----------
    planes : int
    step : int
        The chosen step; for several planes, their median.
    stop_reason : str
        The most frequent one.
    noise : float or None
        Estimated standard deviation in the image's units; for several planes, the median. None if it is unknown.
    seconds : float
    device : str
    helped : int or None
        How many planes their neighbours helped; None if planes were restored one by one.
    warnings : tuple of str
    left_out : tuple of str
        Outputs that were requested but not computed, because the run was stopped first.
    """

    planes: int
    step: int
    stop_reason: str
    noise: float | None
    seconds: float
    device: str
    helped: int | None = None
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def split_name(path: Path) -> tuple[str, str]:
    """Split a file's name into its stem and its suffix, such as ".ome.tif"."""
    endings = (each for each in (".ome.tiff", ".ome.tif") if path.name.lower().endswith(each))
    begin = len(path.name) - len(next(endings, path.suffix))
    return path.name[:begin], path.name[begin:]


def find_planes_folder(out: Path) -> Path:
    """Return the hidden folder for the finished planes of an unfinished output."""
    return hide(out, "planes")


@dataclass(frozen=True, slots=True, eq=False)
class OpenedJob:
    """A job with its source opened, which determines the shapes and types of its outputs.

    Attributes
    ----------
    job : FileJob
        Its request now says whether planes have colours, and has a JPEG's quantisation table.
    stack : Stack
    axes : Axes
    neighbours : str or None
        The letter of the axis along which planes help one another.
    """

    job: FileJob
    stack: Stack
    axes: Axes
    neighbours: str | None = None

    @property
    def letters(self) -> str:
        """One letter per axis of the outputs, whose planes are in the order of ``Axes.planes``."""
        if self.axes.takes_channels_together:
            return f"{self.axes.stepped}CYX"
        is_grey = "S" in self.axes.letters and self.axes.size("S") == 1
        return self.axes.stepped + self.axes.plane_letters[: 2 if is_grey else None]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an output."""
        scale = self._scale(name)
        return tuple(self.axes.size(letter) * (scale if letter in "YX" else 1) for letter in self.letters)

    def pixel_type(self, name: str) -> np.dtype:
        """Return the pixel type of an output's file."""
        is_rounded = (self.job.same_type or is_png(self.job.outputs[name])) and not OUTPUTS[name].is_signed
        return np.dtype(self.stack.array.dtype if is_rounded else np.float32)

    def describe(self, name: str) -> Stack:
        """Return the source's metadata, adapted to an output: super-resolution makes its pixels smaller."""
        sizes = {
            letter: size / (self._scale(name) if letter in "YX" else 1)
            for letter, size in self.stack.pixel_sizes.items()
        }
        return dataclasses.replace(self.stack, pixel_sizes=sizes)

    def pages(self, image: np.ndarray) -> Iterator[np.ndarray]:
        """Split a plane of an output, ``(h, w)`` or ``(h, w, c)``, into the planes of a file."""
        if self.axes.takes_channels_together:
            return iter(np.moveaxis(image, 2, 0))
        return iter([image.reshape(image.shape[:2] + image.shape[2:] * ("S" in self.letters))])

    def check_outputs(self) -> None:
        """Check that files of these types can hold the outputs, and that the disk has room for those of a stack.

        Raises
        ------
        ValueError
            If they cannot, or if it has not.
        """
        size = 0
        for name, path in self.job.outputs.items():
            dtype = self.pixel_type(name)
            check_stack_name(path, self.letters, dtype, is_single=self.stack.is_single)
            size += math.prod(self.shape(name)) * dtype.itemsize
        folder = next(folder for folder in self.job.out.absolute().parents if folder.exists())
        free = shutil.disk_usage(folder).free
        if size > free and not self.stack.is_single:
            raise ValueError(
                f"the outputs take {size / 1e9:,.0f} GB, and only {free / 1e9:,.1f} GB are free for {self.job.out}; "
                "make room or choose another folder."
            )

    def _scale(self, name: str) -> int:
        return self.job.request.enlargement if OUTPUTS[name].is_enlarged else 1


def open_job(job: FileJob) -> OpenedJob:
    """Open the source of a job.

    Raises
    ------
    ValueError
        If it cannot be read, or its axes are unknown.
    """
    stack, warm_start = open_stack(job.source), job.warm_start and job.warm_start.upper()
    of_zarr = any(is_zarr(path) for path in (job.source, job.out)) or holds_zarr(job.source)
    if not of_zarr and job.axes is None and _is_plane(stack):
        image = read_image(job.source)
        stack = dataclasses.replace(stack, array=image, axes="YX" if image.ndim == 2 else "YXS", is_single=True)
        warm_start = None  # there is no plane before it
    axes = find_axes(stack.array.shape, job.axes or stack.axes, job.channels)
    parameters = job.request.parameters
    if find_task(job.request.task).takes("quantisation_table") and job.source.is_file():
        table = read_quantisation_table(job.source)
        parameters = parameters if table is None else {**parameters, "quantisation_table": table}
    request = dataclasses.replace(job.request, parameters=parameters, colours=not axes.takes_channels_together)
    # "auto" may mean nothing, but a letter has to fit the axes
    wanted = "auto" if stack.is_single else job.neighbours
    neighbours = find_neighbour_axis(stack.array, axes, request, wanted)
    return OpenedJob(dataclasses.replace(job, request=request, warm_start=warm_start), stack, axes, neighbours)


def _is_plane(stack: Stack) -> bool:
    """Return whether a file holds a single plane, grey or colour, even if its colours are stored plane by plane."""
    shape, letters = stack.array.shape, stack.axes or ""
    longer = sum(length > 1 for length in shape)
    return longer <= 2 or (longer == 3 and letters.endswith("S")) or (len(shape) == 3 and "S" in letters)
