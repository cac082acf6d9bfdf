"""Restore many files, found by a pattern, and write a report that survives a killed run."""

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
from .file_restoration import OutputsExist, are_outputs_finished, find_other_settings, restore_file
from .folder_report import Row, append_row, is_report, read_report, write_report
from .ome_zarr import ZARR_SUFFIX, holds_zarr
from .output_lock import hold_outputs, remove_leftovers
from .tasks import SECONDS_WITHOUT_WORKERS, Outcome, run_tasks

SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg", ZARR_SUFFIX)
_KEPT_SUFFIXES = (".ome.tiff", ".ome.tif", ZARR_SUFFIX)
_OUT_SUFFIXES = (*_KEPT_SUFFIXES, *TIFF_SUFFIXES, ".png")
_SECONDS_FOR_REPORT = 10.0  # how long to wait for another process that writes the same report
_SECONDS_FOR_LOST_WORKER = 10.0  # how long to wait for a lost worker that had the file before to end


def is_many(source: str) -> bool:
    """Return whether IN means several files: a pattern, or a folder that is not an OME-Zarr."""
    path = Path(source)
    if path.exists():
        return path.is_dir() and not source.rstrip("/").lower().endswith(ZARR_SUFFIX) and not holds_zarr(path)
    return glob.has_magic(source)


def find_files(source: str) -> list[Path]:
    """Return the image files in a folder or that match a pattern, sorted.

    Raises
    ------
    ValueError
        If there are none.
    """
    path = Path(source)
    found = path.iterdir() if path.is_dir() else map(Path, glob.glob(source, recursive=True))
    files = sorted(each for each in found if each.suffix.lower() in SUFFIXES and not each.name.startswith("."))
    if not files:
        raise ValueError(f"{source} has no images; give a folder or pattern of TIFF, PNG, JPEG or OME-Zarr.")
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
        The task, the settings and everything else that all jobs share.
    suffix : str, optional
        Of the outputs, such as ".png". By default, .zarr and .ome.tif are kept and all others become .tif.
    mask : str, optional
        One file for all, or a name in which {stem} and {name} stand for the image's name without and with its suffix.

    Raises
    ------
    ValueError
        If two files would have the same output, an output would overwrite an input, or the suffix is unknown.
    """
    if suffix is not None and suffix.lower() not in _OUT_SUFFIXES:
        raise ValueError(f"--suffix is {suffix!r}; choose one of {', '.join(_OUT_SUFFIXES)}.")
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
    """Clear away what killed runs left, then check the files of the jobs and their report, as ``check_files`` does.

    Raises
    ------
    ValueError
        If one of them would be lost or cannot be written.
    """
    if report.suffix.lower() not in (".csv", ".json"):
        raise ValueError(f"the report {report.name} is neither CSV nor JSON; end the name in .csv or .json.")
    read, written = _files_of(jobs)
    written.append(FileToWrite(report, "the report", is_report))
    remove_leftovers(each.path for each in written)
    check_files(read, written, overwrite=overwrite, resume=any(job.resume for job in jobs))


def list_unfinished(jobs: Sequence[FileJob], *, overwrite: bool = False) -> list[FileJob]:
    """Return the jobs that there is something left to do for: all but those that resume and have all their outputs."""
    return [job for job in jobs if overwrite or not job.resume or not are_outputs_finished(job)]


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
    """Restore files independently: an error is reported in the file's row and does not stop the others.

    Parameters
    ----------
    jobs : sequence of FileJob
        Jobs that resume keep existing outputs, and their rows say so if they were made with other settings.
    report : Path
        A .csv or .json; a row is appended after every file. Jobs that resume keep the rows of other files.
    devices, client, seconds_without_workers
        As in ``run_tasks``.
    overwrite : bool
        Whether to replace existing outputs.
    watch : callable
        Called with a job and each of its ``PlaneProgress``; not on a cluster.
    hooks : Hooks
        As in ``restore_file``. After a stop, no more files are started.

    Yields
    ------
    Row
        For every file, as it is finished.

    Raises
    ------
    ValueError
        At the call, if an existing output may be neither kept nor replaced, if two files conflict, or if a folder
        cannot be written to.
    ConnectionError
        If the cluster has no workers or the scheduler is lost.
    """
    check_jobs(jobs, report, overwrite=overwrite)
    for folder in {path.parent for job in jobs for path in job.outputs.values()}:
        folder.mkdir(parents=True, exist_ok=True)
    to_do = list_unfinished(jobs, overwrite=overwrite)
    abandoned = threading.Event()

    def restore_here(job: FileJob, keep: bool, overwrite: bool, device: str) -> FileOutcome:
        if hooks.stop_requested():
            raise InterruptedError("not started, because the run was stopped.")
        return restore_file(
            _on_device(job, device), watch=lambda progress: watch(job, progress),
            hooks=dataclasses.replace(hooks, stop_requested=lambda: hooks.stop_requested() or abandoned.is_set()),
            keep_stopped=False, keep_existing=keep, overwrite=overwrite,
        )  # fmt: skip

    arguments = ((job, job.resume and not overwrite, overwrite) for job in to_do)
    outcomes = run_tasks(
        restore_here if client is None else _restore_on_worker, arguments, client=client, devices=devices,
        stop_requested=hooks.stop_requested, abandoned=abandoned, seconds_without_workers=seconds_without_workers,
    )  # fmt: skip
    return _report(jobs, to_do, outcomes, report)


def _report(
    jobs: Sequence[FileJob], to_do: Sequence[FileJob], outcomes: Iterator[Outcome], report: Path
) -> Iterator[Row]:
    """Write the report as outcomes arrive; yield a row for every job."""
    outputs = [report, *(path for job in jobs for path in job.outputs.values())]
    before = read_report(report) if any(job.resume for job in jobs) else {}
    names = {spell(job.out) for job in to_do}
    before = {name: row for name, row in before.items() if name not in names}
    # by the name of the output, spelled as in the report
    rows = {name: _row_of_kept(job, before) for job in jobs if (name := spell(job.out)) not in names}
    with suppress(OSError), hold_outputs([report], _SECONDS_FOR_REPORT):
        write_report(report, _merge(jobs, rows, before))
    try:
        yield from list(rows.values())
        for number, outcome in outcomes:
            job = to_do[number]
            exists = isinstance(outcome, OutputsExist)  # another process has written them meanwhile
            row = _row_of_kept(job, read_report(report)) if exists else _row(job, outcome)
            rows[row.out] = row
            # if the disk is full, there may be room for the next row; if not, writing the final report fails
            with suppress(OSError), hold_outputs([report], _SECONDS_FOR_REPORT):
                append_row(report, row)
            yield row
    finally:
        outcomes.close()  # type: ignore[attr-defined]
        remove_leftovers(outputs)
        with hold_outputs([report], _SECONDS_FOR_REPORT):
            write_report(report, _merge(jobs, rows, read_report(report)))


def _merge(jobs: Sequence[FileJob], rows: dict[str, Row], reported: dict[str, Row]) -> list[Row]:
    """Return the rows of other files, then those of this run in order.

    If a file failed in this run and another process has restored it meanwhile, the other's row counts.
    """
    names = [spell(job.out) for job in jobs]
    known = set(names)
    merged = [row for name, row in reported.items() if name not in known]
    for name in names:
        own, other = rows.get(name), reported.get(name)
        if own is None or (own.status == "failed" and other is not None and other.status != "failed"):
            own = other
        if own is not None:
            merged.append(own)
    return merged


def _row_of_kept(job: FileJob, before: dict[str, Row]) -> Row:
    row = before.get(spell(job.out), Row(spell(job.source), spell(job.out), "kept"))
    return dataclasses.replace(row, status="kept", error=tell_other_settings(job))


def tell_other_settings(job: FileJob) -> str:
    """Return a sentence if a kept output was made with other settings than the job's, otherwise nothing."""
    names = ", ".join(name.replace("_", " ") for name in find_other_settings(job))
    return f"kept, although it was made with different {names}; add --overwrite to restore it again." if names else ""


def _restore_on_worker(job: FileJob, keep: bool, overwrite: bool, device: str) -> FileOutcome:
    """Restore a file on a worker; if an earlier worker was lost, continue with the planes that it finished."""
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
    fields = asdict(outcome)
    warnings = fields.pop("warnings")
    del fields["left_out"]  # always empty, because files that were stopped are not written
    del fields["helped"]  # the records say it plane by plane
    return Row(source, out, "done", spell(" ".join(warnings)), **fields, settings=settings)


def _in_a_sentence(error: Exception) -> str:
    text = spell(" ".join(str(error).split()))
    if isinstance(error, MemoryError):
        return "not enough memory; use a narrower network, less memory for tiles or a smaller image."
    if "out of memory" in text.lower():
        return "the device ran out of memory; use a narrower network, another device or a smaller image."
    return text or type(error).__name__
