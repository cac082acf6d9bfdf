"""Many files: found by a pattern, restored one by one, with a report that outlives the run."""

from __future__ import annotations

import dataclasses
import glob
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..image_files import TIFF_SUFFIXES
from ..request import NO_REPORTS, Hooks
from .file_job import FileJob, FileOutcome, split_name
from .file_plan import FileToRead, FileToWrite, check_apart, check_files, spell
from .file_restoration import OutputsThere, are_outputs_there, restore_file
from .folder_report import Row, append_row, is_report, read_report, write_report
from .ome_zarr import ZARR_SUFFIX, holds_zarr
from .output_lock import hold_outputs, remove_leftovers
from .tasks import SECONDS_WITHOUT_WORKERS, Outcome, run_tasks

SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg", ZARR_SUFFIX)
_KEPT_SUFFIXES = (".ome.tiff", ".ome.tif", ZARR_SUFFIX)
_OUT_SUFFIXES = (*_KEPT_SUFFIXES, *TIFF_SUFFIXES, ".png")
_SECONDS_FOR_REPORT = 10.0  # until another process that writes into the same report is done with that
_SECONDS_FOR_LOST_WORKER = 10.0  # until the one that had the file before has ended altogether


def is_many(source: str) -> bool:
    """Return whether IN means several files: a pattern, or a folder that is no OME-Zarr."""
    path = Path(source)
    if path.exists():
        return path.is_dir() and not source.rstrip("/").lower().endswith(ZARR_SUFFIX) and not holds_zarr(path)
    return glob.has_magic(source)


def find_files(source: str) -> list[Path]:
    """Return the image files that a pattern or a folder means, sorted.

    Raises
    ------
    ValueError
        If there is none.
    """
    path = Path(source)
    found = path.iterdir() if path.is_dir() else map(Path, glob.glob(source, recursive=True))
    files = sorted(each for each in found if each.suffix.lower() in SUFFIXES and not each.name.startswith("."))
    if not files:
        raise ValueError(f"there is no image {source}: TIFF, PNG, JPEG and OME-Zarr are read.")
    return files


def plan_jobs(
    files: Sequence[Path], folder: Path, model: FileJob, *, suffix: str | None, mask: str | None
) -> list[FileJob]:
    """Return a job for every file.

    Parameters
    ----------
    files : sequence of Path
    folder : Path
        For the outputs.
    model : FileJob
        Task, settings and whatever else all have in common.
    suffix : str, optional
        Of the outputs, such as ".png". By default .zarr and .ome.tif stay what they are, all others become .tif.
    mask : str, optional
        A file for all, or a name in which {stem} and {name} stand for the image's name without and with its suffix.

    Raises
    ------
    ValueError
        If two files would have the same output, or one would be its own, or nothing is written under that suffix.
    """
    if suffix is not None and suffix.lower() not in _OUT_SUFFIXES:
        raise ValueError(f"--suffix is {suffix!r}; give one of {', '.join(_OUT_SUFFIXES)}.")
    jobs = []
    for source in files:
        stem, kept = split_name(source)
        out = folder / f"{stem}{suffix or (kept.lower() if kept.lower() in _KEPT_SUFFIXES else '.tif')}"
        mask_path = None if mask is None else Path(mask.replace("{stem}", stem).replace("{name}", source.name))
        jobs.append(dataclasses.replace(model, source=source, out=out, mask=mask_path))
    check_apart(*_files_of(jobs))
    return jobs


def _files_of(jobs: Sequence[FileJob]) -> tuple[list[FileToRead], list[FileToWrite]]:
    return [each for job in jobs for each in job.files_to_read], [each for job in jobs for each in job.files_to_write]


def check_jobs(jobs: Sequence[FileJob], report: Path, *, overwrite: bool = False) -> None:
    """Check the files of jobs and their report, as ``check_files`` does, after what killed runs left is cleared away.

    Raises
    ------
    ValueError
        If one of them would be lost, or cannot be written.
    """
    if report.suffix.lower() not in (".csv", ".json"):
        raise ValueError(f"the report is {report.name!r}; end it in .csv or .json.")
    read, written = _files_of(jobs)
    written.append(FileToWrite(report, "the report", is_report))
    remove_leftovers(each.path for each in written)
    check_files(read, written, overwrite=overwrite, resume=any(job.resume for job in jobs))


def restore_files(
    jobs: Sequence[FileJob],
    report: Path,
    *,
    devices: tuple[str, ...],
    client: Any = None,
    overwrite: bool = False,
    watch: Callable[[FileJob, Any], None] = lambda job, progress: None,
    hooks: Hooks = NO_REPORTS,
    seconds_without_workers: float = SECONDS_WITHOUT_WORKERS,
) -> Iterator[Row]:
    """Restore files, each on its own: what goes wrong with one is told in its row and stops no other.

    Parameters
    ----------
    jobs : sequence of FileJob
        Those that resume keep the outputs that are there.
    report : Path
        A .csv or .json; a row is appended after every file. Jobs that resume continue it: the rows of other files stay.
    devices, client, seconds_without_workers
        As ``run_tasks`` takes them.
    overwrite : bool
        Whether to replace outputs that are there.
    watch : callable
        Is given every ``PlaneProgress`` with its job; not on a cluster.
    hooks : Hooks
        As ``restore_file`` takes them. After a stop no more files are begun.

    Yields
    ------
    Row
        Of every file, as it is done.

    Raises
    ------
    ValueError
        At the call, if an output is there that is neither kept nor to be replaced, if two files get into each other's
        way, or if nothing can be written.
    ConnectionError
        If the cluster has no worker or the scheduler is gone.
    """
    check_jobs(jobs, report, overwrite=overwrite)
    for folder in {path.parent for job in jobs for path in job.outputs.values()}:
        folder.mkdir(parents=True, exist_ok=True)
    kept = {job.out for job in jobs if job.resume and not overwrite and are_outputs_there(job)}
    to_do = [job for job in jobs if job.out not in kept]
    abandoned = threading.Event()

    def restore_here(job: FileJob, keep: bool, overwrite: bool, device: str) -> FileOutcome:
        if hooks.stop_requested():
            raise InterruptedError("it was not begun: the run was stopped.")
        return restore_file(
            _on_device(job, device), watch=lambda progress: watch(job, progress),
            hooks=dataclasses.replace(hooks, stop_requested=lambda: hooks.stop_requested() or abandoned.is_set()),
            keep_stopped=False, keep_existing=keep, overwrite=overwrite,
        )  # fmt: skip

    arguments = ((job, job.resume and not overwrite, overwrite) for job in to_do)
    outcomes = run_tasks(
        restore_here if client is None else _restore_there, arguments, client=client, devices=devices,
        stop_requested=hooks.stop_requested, abandoned=abandoned, seconds_without_workers=seconds_without_workers,
    )  # fmt: skip
    return _report(jobs, to_do, outcomes, report)


def _report(
    jobs: Sequence[FileJob], to_do: Sequence[FileJob], outcomes: Iterator[Outcome], report: Path
) -> Iterator[Row]:
    """Write the report as the outcomes of what is to do come; yield a row for every job."""
    outputs = [report, *(path for job in jobs for path in job.outputs.values())]
    before = read_report(report) if any(job.resume for job in jobs) else {}
    names = {spell(job.out) for job in to_do}
    before = {name: row for name, row in before.items() if name not in names}
    # by the name of the output, as the report spells it
    rows = {name: _row_of_kept(job, before) for job in jobs if (name := spell(job.out)) not in names}
    with suppress(OSError), hold_outputs([report], _SECONDS_FOR_REPORT):
        write_report(report, _merge(jobs, rows, before))
    try:
        yield from list(rows.values())
        for number, outcome in outcomes:
            job = to_do[number]
            there_by_now = isinstance(outcome, OutputsThere)  # another process has made them
            row = _row_of_kept(job, read_report(report)) if there_by_now else _row(job, outcome)
            rows[row.out] = row
            # a full disk: the next file may find room again, and the end says so if not
            with suppress(OSError), hold_outputs([report], _SECONDS_FOR_REPORT):
                append_row(report, row)
            yield row
    finally:
        outcomes.close()  # type: ignore[attr-defined]
        remove_leftovers(outputs)
        with hold_outputs([report], _SECONDS_FOR_REPORT):
            write_report(report, _merge(jobs, rows, read_report(report)))


def _merge(jobs: Sequence[FileJob], rows: dict[str, Row], there: dict[str, Row]) -> list[Row]:
    """Return the rows of other files, then those of a run in order.

    Of a file that it failed at and another process has done meanwhile, the row is the other's.
    """
    names = [spell(job.out) for job in jobs]
    known = set(names)
    merged = [row for name, row in there.items() if name not in known]
    for name in names:
        own, other = rows.get(name), there.get(name)
        if own is None or (own.status == "failed" and other is not None and other.status != "failed"):
            own = other
        if own is not None:
            merged.append(own)
    return merged


def _row_of_kept(job: FileJob, before: dict[str, Row]) -> Row:
    row = before.get(spell(job.out), Row(spell(job.source), spell(job.out), "kept"))
    return dataclasses.replace(row, status="kept", error="")


def _restore_there(job: FileJob, keep: bool, overwrite: bool, device: str) -> FileOutcome:
    """Restore a file on a worker; where a worker before it was lost, go on with the planes that it has left."""
    return restore_file(
        dataclasses.replace(_on_device(job, device), resume=True), keep_existing=keep, overwrite=overwrite,
        seconds_to_wait=_SECONDS_FOR_LOST_WORKER,
    )  # fmt: skip


def _on_device(job: FileJob, device: str) -> FileJob:
    settings = job.request.settings
    if settings.device != "auto" or device == "auto":
        return job
    request = dataclasses.replace(job.request, settings=dataclasses.replace(settings, device=device))
    return dataclasses.replace(job, request=request)


def _row(job: FileJob, outcome: FileOutcome | Exception) -> Row:
    settings = json.dumps(asdict(job.request.settings))
    source, out = spell(job.source), spell(job.out)
    if isinstance(outcome, Exception):
        return Row(source, out, "failed", _in_a_sentence(outcome), settings=settings)
    told = asdict(outcome)
    warnings = told.pop("warnings")
    del told["left_out"]  # of a run that keeps nothing stopped: there is none
    return Row(source, out, "done", spell(" ".join(warnings)), **told, settings=settings)


def _in_a_sentence(error: Exception) -> str:
    text = spell(" ".join(str(error).split()))
    if isinstance(error, MemoryError):
        return "there is not enough memory; use a narrower network, less memory for tiles or a smaller image."
    if "out of memory" in text.lower():
        return "the device ran out of memory; use a narrower network, another device or a smaller image."
    return text or type(error).__name__
