"""The planes of one stack file: each is kept as it is done, and all are written as one file at the end."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..image_files import TIFF_SUFFIXES, write_whole
from ..pixel_type import as_dtype
from ..record import Record
from .axes import Axes, Plane, find_axes
from .file_job import FileJob, FileOutcome, enlarge_pixels, output_type, summarise
from .image_stack import Stack
from .stack import restore_stack
from .stack_files import check_stack_name, is_zarr, open_stack, write_stack


class KeptPlanes:
    """A hidden folder beside the output that holds the planes that are done, until all are.

    Parameters
    ----------
    job : FileJob
    axes : Axes
    """

    def __init__(self, job: FileJob, axes: Axes) -> None:
        self.folder = folder_of_planes(job.out)
        self._numbers = {tuple(plane.place.items()): n for n, plane in enumerate(axes.planes())}
        self._names = tuple(job.outputs)
        of = job.source.stat()
        told = {
            "source": [str(job.source.resolve()), of.st_size, of.st_mtime],
            "mask": None if job.mask is None else str(job.mask.resolve()),
            "axes": axes.letters,
            "channels": axes.channels,
            "task": job.task,
            "factor": job.factor,
            "settings": repr(job.settings),
            "warm_start": job.warm_start,
        }
        told_before = self.folder / "job.json"
        if self.folder.exists():
            try:
                same = json.loads(told_before.read_text(encoding="utf-8")) == told
            except (OSError, ValueError):
                same = False
            if not (job.resume and same):  # of another job: they would not be its planes
                shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(told_before, lambda beside: beside.write_text(json.dumps(told), encoding="utf-8"))

    def has(self, plane: Plane) -> bool:
        """Return whether a plane is done: its record is written last."""
        return self._path("record", plane).exists()

    def keep(self, plane: Plane, result: Any) -> None:
        """Keep a plane that is done."""
        for name in self._names:
            write_whole(self._path(name, plane), partial(_save, getattr(result, name)))
        text = json.dumps(dict(plane.place) | {"record": result.record.as_dict()})
        write_whole(self._path("record", plane), lambda beside: beside.write_text(text, encoding="utf-8"))

    def image(self, name: str, plane: Plane) -> NDArray[np.float32]:
        """Return an output of a plane."""
        return np.load(self._path(name, plane))

    def record(self, plane: Plane) -> dict[str, Any]:
        """Return the record of a plane."""
        return json.loads(self._path("record", plane).read_text(encoding="utf-8"))["record"]

    def drop(self) -> None:
        """Remove them all."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name: str, plane: Plane) -> Path:
        number = self._numbers[tuple(plane.place.items())]
        return self.folder / f"{name}_{number:06d}.{'json' if name == 'record' else 'npy'}"


def folder_of_planes(out: Path) -> Path:
    """Return where the planes of an unfinished output are."""
    return out.with_name(f".{out.name}.planes")


def _save(image: NDArray, path: Path) -> None:
    with path.open("wb") as file:  # by name, numpy would add a suffix of its own
        np.save(file, image)


def restore_stack_file(
    job: FileJob,
    opened: Stack,
    watch: Callable[[Any], None],
    stop_requested: Callable[[], bool],
    report_wanted: Callable[[], bool],
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
    mask = None if job.mask is None else _open_mask(job.mask)
    kept = KeptPlanes(job, axes)
    stopped = False
    for each in restore_stack(
        opened.array, axes.letters, mask, job.task, job.factor, job.settings, channels=job.channels, skip=kept.has,
        stop_requested=stop_requested, report_wanted=report_wanted, quick_estimates=True, client=client,
        memory=job.memory, warm_start=job.warm_start,
    ):  # fmt: skip
        if each.result is not None and not stop_requested():
            kept.keep(each.plane, each.result)
        watch(each)
        stopped = stop_requested()
    planes = list(axes.planes())
    if stopped and not all(map(kept.has, planes)):
        done = sum(map(kept.has, planes))
        raise InterruptedError(
            f"{job.source.name} was stopped after {done} of {len(planes)} planes, which are kept: go on with --resume."
        )
    records = [kept.record(plane) for plane in planes]
    records_of_planes = [(plane.place, Record.from_dict(each)) for plane, each in zip(planes, records, strict=True)]
    record = records_of_planes[0][1].of_stack(
        axes.letters, axes.shape, records_of_planes, channels=axes.channels, warm_start=job.warm_start
    )
    warnings = []
    like = enlarge_pixels(opened, job.factor or 1)
    for name, path in job.outputs.items():
        pixel_type, clipped = output_type(job, name, dtype), 0

        def pages(name: str = name, pixel_type: np.dtype = pixel_type) -> Iterator[NDArray]:
            nonlocal clipped
            for plane in planes:
                image, some = as_dtype(kept.image(name, plane), pixel_type)
                clipped += some
                yield from np.moveaxis(image, 2, 0) if axes.takes_channels_together else [image]

        write_stack(path, pages(), shape, pixel_type, like, letters, record.as_dict())
        if clipped:
            warnings.append(f"{name}: {clipped} pixels were clipped to the range of {pixel_type}.")
    kept.drop()
    return summarise(records, time.perf_counter() - start, tuple(warnings))


def _check_room(out: Path, size: int) -> None:
    """Check that outputs of so many bytes have room on their disk, before a file that promises too much is begun."""
    there = next(folder for folder in out.absolute().parents if folder.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise ValueError(f"the outputs take {size / 1e9:,.0f} GB; {free / 1e9:,.1f} GB are free where {out} is to be.")


def _shape_of_file(axes: Axes, factor: int) -> tuple[tuple[int, ...], str]:
    """Return shape and letters of the file: planes come one after the other, in the order of ``Axes.planes``."""
    letters = axes.stepped + ("CYX" if axes.takes_channels_together else axes.whole)
    sizes = {letter: axes.size(letter) * (factor if letter in "YX" else 1) for letter in letters}
    return tuple(sizes.values()), letters


def _open_mask(path: Path) -> Any:
    if path.suffix.lower() in TIFF_SUFFIXES or is_zarr(path):
        array = open_stack(path).array
        if math.prod(array.shape[:-2]) > 1:
            return array
    from ..image_files import read_mask

    return read_mask(path)
