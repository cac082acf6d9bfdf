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

from ..image_files import TIFF_SUFFIXES, check_folder
from .file_job import FileJob, FileOutcome, OutputsThere, are_outputs_there, restore_file
from .folder_report import Row, append_row, read_report, write_report
from .ome_zarr import ZARR_SUFFIX
from .output_lock import hold_outputs, remove_leftovers
from .tasks import SECONDS_WITHOUT_WORKERS, run_tasks

SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg", ZARR_SUFFIX)
_KEPT_SUFFIXES = (".ome.tiff", ".ome.tif", ZARR_SUFFIX)
_SECONDS_FOR_REPORT = 10.0  # until another process that writes into the same report is done with that
_SECONDS_FOR_LOST_WORKER = 10.0  # until the one that had the file before has ended altogether


def is_many(source: str) -> bool:
    """Return whether IN means several files: a pattern, or a folder that is no OME-Zarr."""
    path = Path(source)
    if path.exists():
        return path.is_dir() and not source.rstrip("/").lower().endswith(ZARR_SUFFIX)
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
        If two files would have the same output, or one would be its own.
    """
    jobs: dict[Path, FileJob] = {}
    for source in files:
        kept = next((each for each in _KEPT_SUFFIXES if source.name.lower().endswith(each)), source.suffix)
        stem = source.name[: len(source.name) - len(kept)]
        out = folder / f"{stem}{suffix or (kept if kept in _KEPT_SUFFIXES else '.tif')}"
        if out in jobs:
            raise ValueError(f"{jobs[out].source} and {source} would both become {out}; restore them into two folders.")
        if out.resolve() == source.resolve():
            raise ValueError(f"{source} would be its own output; choose another folder.")
        mask_path = None if mask is None else Path(mask.replace("{stem}", stem).replace("{name}", source.name))
        jobs[out] = dataclasses.replace(model, source=source, out=out, mask=mask_path)
    return list(jobs.values())


def restore_files(
    jobs: Sequence[FileJob],
    report: Path,
    *,
    devices: tuple[str, ...],
    client: Any = None,
    overwrite: bool = False,
    watch: Callable[[FileJob, Any], None] = lambda job, progress: None,
    stop_requested: Callable[[], bool] = lambda: False,
    report_wanted: Callable[[], bool] = lambda: False,
    seconds_without_workers: float = SECONDS_WITHOUT_WORKERS,
) -> Iterator[Row]:
    """Restore files, each on its own: what goes wrong with one is told in its row and stops no other.

    Parameters
    ----------
    jobs : sequence of FileJob
        Those that resume keep the outputs that are there.
    report : Path
        A .csv or .json; a row is appended after every file.
    devices, client, seconds_without_workers
        As ``run_tasks`` takes them.
    overwrite : bool
        Whether to replace outputs that are there.
    watch : callable
        Is given every ``PlaneProgress`` with its job; not on a cluster.
    stop_requested, report_wanted : callable
        As ``restore_file`` takes them. After a stop no more files are begun.

    Yields
    ------
    Row
        Of every file, as it is done.

    Raises
    ------
    ValueError
        At the call, if an output is there that is neither kept nor to be replaced, or nothing can be written.
    ConnectionError
        If the cluster has no worker or the scheduler is gone.
    """
    if report.suffix.lower() not in (".csv", ".json"):
        raise ValueError(f"the report is {report.name}; end it in .csv or .json.")
    for path in {path.parent: path for path in (report, *(job.out for job in jobs))}.values():
        check_folder(path)
    for job in jobs:
        there = [path for path in job.outputs.values() if path.exists()]
        if there and not (overwrite or job.resume):
            raise ValueError(f"{there[0]} exists; add --resume to keep what is done, --overwrite to do it again.")
    return _run(jobs, report, devices, client, overwrite, watch, stop_requested, report_wanted, seconds_without_workers)


def _run(
    jobs: Sequence[FileJob],
    report: Path,
    devices: tuple[str, ...],
    client: Any,
    overwrite: bool,
    watch: Callable[[FileJob, Any], None],
    stop_requested: Callable[[], bool],
    report_wanted: Callable[[], bool],
    seconds_without_workers: float,
) -> Iterator[Row]:
    outputs = [report, *(path for job in jobs for path in job.outputs.values())]
    remove_leftovers(outputs)
    before = read_report(report)
    rows: dict[str, Row] = {}
    to_do = []
    for job in jobs:
        if job.resume and not overwrite and are_outputs_there(job):
            rows[str(job.out)] = _row_of_kept(job, before)
        else:
            to_do.append(job)
    with suppress(OSError, BlockingIOError), hold_outputs([report], _SECONDS_FOR_REPORT):
        write_report(report, list(rows.values()))
    abandoned = threading.Event()

    def restore_here(job: FileJob, keep: bool, device: str) -> FileOutcome:
        if stop_requested():
            raise InterruptedError("it was not begun: the run was stopped.")
        return restore_file(
            _on_device(job, device), watch=lambda progress: watch(job, progress),
            stop_requested=lambda: stop_requested() or abandoned.is_set(), report_wanted=report_wanted,
            keep_stopped=False, keep_existing=keep,
        )  # fmt: skip

    outcomes = run_tasks(
        restore_here if client is None else _restore_there, ((job, job.resume and not overwrite) for job in to_do),
        client=client, devices=devices, stop_requested=stop_requested, abandoned=abandoned,
        seconds_without_workers=seconds_without_workers,
    )  # fmt: skip
    try:
        yield from list(rows.values())
        for number, outcome in outcomes:
            job = to_do[number]
            there_by_now = isinstance(outcome, OutputsThere)  # another process has made them
            row = _row_of_kept(job, read_report(report)) if there_by_now else _row(job, outcome)
            rows[str(job.out)] = row
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
    """Return the rows of a run in order; of what it failed at and another process has done, the other's."""
    merged = []
    for job in jobs:
        own, other = rows.get(str(job.out)), there.get(str(job.out))
        if own is None or (own.status == "failed" and other is not None and other.status != "failed"):
            own = other
        if own is not None:
            merged.append(own)
    return merged


def _row_of_kept(job: FileJob, before: dict[str, Row]) -> Row:
    row = before.get(str(job.out), Row(str(job.source), str(job.out), "kept"))
    return dataclasses.replace(row, status="kept", error="")


def _restore_there(job: FileJob, keep: bool, device: str) -> FileOutcome:
    """Restore a file on a worker; where a worker before it was lost, go on with the planes that it has left."""
    return restore_file(
        dataclasses.replace(_on_device(job, device), resume=True), keep_existing=keep,
        seconds_to_wait=_SECONDS_FOR_LOST_WORKER,
    )  # fmt: skip


def _on_device(job: FileJob, device: str) -> FileJob:
    if job.settings.device != "auto" or device == "auto":
        return job
    return dataclasses.replace(job, settings=dataclasses.replace(job.settings, device=device))


def _row(job: FileJob, outcome: FileOutcome | Exception) -> Row:
    settings = json.dumps(asdict(job.settings))
    if isinstance(outcome, Exception):
        return Row(str(job.source), str(job.out), "failed", _in_a_sentence(outcome), settings=settings)
    told = asdict(outcome)
    warnings = told.pop("warnings")
    return Row(str(job.source), str(job.out), "done", " ".join(warnings), **told, settings=settings)


def _in_a_sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    if "out of memory" in text.lower():
        return "the device ran out of memory; use a narrower network, another device or a smaller image."
    return text or type(error).__name__
