"""Many files: found by a pattern, restored one by one, with a report that outlives the run."""

from __future__ import annotations

import csv
import dataclasses
import glob
import io
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..image_files import TIFF_SUFFIXES
from ..whole_files import remove_unfinished, write_whole
from .file_job import FileJob, FileOutcome, restore_file
from .file_plan import FileToRead, FileToWrite, check_apart, check_files, spell
from .ome_zarr import ZARR_SUFFIX, holds_zarr
from .tasks import run_tasks

SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg", ZARR_SUFFIX)
_REPORT_TIME = 0.05  # at most this share of the time goes into the report: anew after every file, if files take longer
_KEPT_SUFFIXES = (".ome.tiff", ".ome.tif", ZARR_SUFFIX)
_OUT_SUFFIXES = (*_KEPT_SUFFIXES, *TIFF_SUFFIXES, ".png")


@dataclass(frozen=True, slots=True)
class Row:
    """What the report says of one file.

    Attributes
    ----------
    source, out : str
        Names, in which what cannot be printed or is not UTF-8 is escaped, as Python does it.
    status : {"done", "kept", "failed"}
        "kept": it was there before, and a run that resumes left it.
    error : str
    planes, step, stop_reason, noise, seconds, device
        As ``FileOutcome``; empty where nothing is known.
    settings : str
        JSON.
    """

    source: str
    out: str
    status: str
    error: str = ""
    planes: int | None = None
    step: int | None = None
    stop_reason: str = ""
    noise: float | None = None
    seconds: float | None = None
    device: str = ""
    settings: str = ""


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
        kept = next((each for each in _KEPT_SUFFIXES if source.name.lower().endswith(each)), source.suffix)
        stem = source.name[: len(source.name) - len(kept)]
        out = folder / f"{stem}{suffix or (kept if kept in _KEPT_SUFFIXES else '.tif')}"
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
    remove_unfinished(each.path.parent for each in written)
    check_files(read, written, overwrite=overwrite, resume=any(job.resume for job in jobs))


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
) -> Iterator[Row]:
    """Restore files, each on its own: what goes wrong with one is told in its row and stops no other.

    Parameters
    ----------
    jobs : sequence of FileJob
        Those that resume keep the outputs that are there.
    report : Path
        A .csv or .json, written anew after every file, unless that would take more than a twentieth of the time. Jobs
        that resume continue it: the rows of other files stay.
    devices, client
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
        At the call, if an output is there that is neither kept nor to be replaced, if two files get into each other's
        way, or if nothing can be written.
    """
    check_jobs(jobs, report, overwrite=overwrite)
    for folder in {path.parent for job in jobs for path in job.outputs.values()}:
        folder.mkdir(parents=True, exist_ok=True)
    return _run(jobs, report, devices, client, overwrite, watch, stop_requested, report_wanted)


def _run(
    jobs: Sequence[FileJob],
    report: Path,
    devices: tuple[str, ...],
    client: Any,
    overwrite: bool,
    watch: Callable[[FileJob, Any], None],
    stop_requested: Callable[[], bool],
    report_wanted: Callable[[], bool],
) -> Iterator[Row]:
    before = read_report(report) if any(job.resume for job in jobs) else {}
    names = [spell(job.out) for job in jobs]
    known = set(names)
    others = [row for name, row in before.items() if name not in known]  # of files that are not of this run
    rows: dict[int, Row] = {}
    to_do = []
    for number, job in enumerate(jobs):
        if job.resume and not overwrite and all(path.exists() for path in job.outputs.values()):
            row = before.get(names[number], Row(spell(job.source), names[number], "kept"))
            rows[number] = dataclasses.replace(row, status="kept", error="")
            yield rows[number]
        else:
            to_do.append(number)

    def restore_here(job: FileJob, device: str) -> FileOutcome:
        if stop_requested():
            raise InterruptedError("it was not begun: the run was stopped.")
        return restore_file(
            _on_device(job, device), watch=lambda progress: watch(job, progress), stop_requested=stop_requested,
            report_wanted=report_wanted, keep_stopped=False,
        )  # fmt: skip

    def write() -> None:
        write_report(report, [*others, *(rows[number] for number in sorted(rows))])

    function: Callable[..., FileOutcome] = restore_here if client is None else _restore_there
    next_report = 0.0
    for n, outcome in run_tasks(function, ((jobs[number],) for number in to_do), client=client, devices=devices):
        rows[to_do[n]] = row = _row(jobs[to_do[n]], outcome)
        began = time.perf_counter()
        if began >= next_report:
            with suppress(OSError):  # a full disk: the next file may find room again, and the end says so if not
                write()
            ended = time.perf_counter()
            next_report = ended + (ended - began) / _REPORT_TIME
        yield row
        if client is not None and stop_requested():
            break
    write()


def _restore_there(job: FileJob, device: str) -> FileOutcome:
    """Restore a file on a worker; where a worker before it was lost, go on with the planes that it has left."""
    return restore_file(dataclasses.replace(_on_device(job, device), resume=True))


def _on_device(job: FileJob, device: str) -> FileJob:
    if job.settings.device != "auto" or device == "auto":
        return job
    return dataclasses.replace(job, settings=dataclasses.replace(job.settings, device=device))


def _row(job: FileJob, outcome: FileOutcome | Exception) -> Row:
    settings = json.dumps(asdict(job.settings))
    source, out = spell(job.source), spell(job.out)
    if isinstance(outcome, Exception):
        return Row(source, out, "failed", _in_a_sentence(outcome), settings=settings)
    told = asdict(outcome)
    warnings = told.pop("warnings")
    del told["left_out"]  # of a run that keeps nothing stopped: there is none
    return Row(source, out, "done", spell(" ".join(warnings)), **told, settings=settings)


def _in_a_sentence(error: Exception) -> str:
    text = spell(" ".join(str(error).split()))
    if "out of memory" in text.lower():
        return "the device ran out of memory; use a narrower network, another device or a smaller image."
    return text or type(error).__name__


def write_report(path: Path, rows: Sequence[Row]) -> None:
    """Write the report as CSV or JSON, by the name; whole or not at all."""
    values = [asdict(row) for row in rows]
    if path.suffix.lower() == ".json":
        for each in values:
            each["settings"] = json.loads(each["settings"] or "{}")
        text = json.dumps(values, indent=1)
    else:
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, [field.name for field in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(values)
        text = table.getvalue()
    # names of files need not be UTF-8
    write_whole(path, lambda beside: beside.write_text(text, encoding="utf-8", errors="surrogateescape"))


def read_report(path: Path) -> dict[str, Row]:
    """Return the rows of a report by their output; none of what is no report."""
    return {row.out: row for row in _read_rows(path) or []}


def is_report(path: Path) -> bool:
    """Return whether a file is a report that was written here."""
    return _read_rows(path) is not None


def _read_rows(path: Path) -> list[Row] | None:
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        if path.suffix.lower() == ".json":
            return [_read_row(each) for each in json.loads(text)]
        table = csv.DictReader(io.StringIO(text))
        if table.fieldnames != [field.name for field in fields(Row)]:
            return None
        return [_read_row(each) for each in table]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, csv.Error):
        return None


def _read_row(values: dict[str, Any]) -> Row:
    read: dict[str, Any] = {}
    for field in fields(Row):
        value = values[field.name]
        if field.name == "settings" and isinstance(value, dict):
            value = json.dumps(value)
        elif field.name in ("planes", "step"):
            value = None if value in ("", None) else int(value)
        elif field.name in ("noise", "seconds"):
            value = None if value in ("", None) else float(value)
        read[field.name] = value
    return Row(**read)
