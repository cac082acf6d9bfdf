"""Many files: found by a pattern, restored one by one, with a report that outlives the run."""

from __future__ import annotations

import csv
import dataclasses
import glob
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..image_files import TIFF_SUFFIXES, check_folder, remove_unfinished, write_whole
from .file_job import FileJob, FileOutcome, restore_file
from .ome_zarr import ZARR_SUFFIX, holds_zarr
from .tasks import run_tasks

SUFFIXES = (*TIFF_SUFFIXES, ".png", ".jpg", ".jpeg", ZARR_SUFFIX)
_KEPT_SUFFIXES = (".ome.tiff", ".ome.tif", ZARR_SUFFIX)


@dataclass(frozen=True, slots=True)
class Row:
    """What the report says of one file.

    Attributes
    ----------
    source, out : str
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
) -> Iterator[Row]:
    """Restore files, each on its own: what goes wrong with one is told in its row and stops no other.

    Parameters
    ----------
    jobs : sequence of FileJob
        Those that resume keep the outputs that are there.
    report : Path
        A .csv or .json, written anew after every file.
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
        At the call, if an output is there that is neither kept nor to be replaced, or nothing can be written.
    """
    if report.suffix.lower() not in (".csv", ".json"):
        raise ValueError(f"the report is {report.name}; end it in .csv or .json.")
    for path in (report, *(job.out for job in jobs)):
        check_folder(path)
    for job in jobs:
        there = [path for path in job.outputs.values() if path.exists()]
        if there and not (overwrite or job.resume):
            raise ValueError(f"{there[0]} exists; add --resume to keep what is done, --overwrite to do it again.")
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
    before = read_report(report)
    rows: dict[str, Row] = {}
    to_do = []
    for job in jobs:
        for path in job.outputs.values():
            remove_unfinished(path)
        if job.resume and not overwrite and all(path.exists() for path in job.outputs.values()):
            row = before.get(str(job.out), Row(str(job.source), str(job.out), "kept"))
            rows[str(job.out)] = dataclasses.replace(row, status="kept", error="")
            yield rows[str(job.out)]
        else:
            to_do.append(job)

    def restore_here(job: FileJob, device: str) -> FileOutcome:
        if stop_requested():
            raise InterruptedError("it was not begun: the run was stopped.")
        return restore_file(
            _on_device(job, device), watch=lambda progress: watch(job, progress), stop_requested=stop_requested,
            report_wanted=report_wanted, keep_stopped=False,
        )  # fmt: skip

    function: Callable[..., FileOutcome] = restore_here if client is None else _restore_there
    for number, outcome in run_tasks(function, ((job,) for job in to_do), client=client, devices=devices):
        job = to_do[number]
        row = _row(job, outcome)
        rows[str(job.out)] = row
        with suppress(OSError):  # a full disk: the next file may find room again, and the end says so if not
            write_report(report, [rows[str(each.out)] for each in jobs if str(each.out) in rows])
        yield row
        if client is not None and stop_requested():
            return
    write_report(report, [rows[str(each.out)] for each in jobs if str(each.out) in rows])


def _restore_there(job: FileJob, device: str) -> FileOutcome:
    """Restore a file on a worker; where a worker before it was lost, go on with the planes that it has left."""
    return restore_file(dataclasses.replace(_on_device(job, device), resume=True))


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
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
        values = json.loads(text) if path.suffix.lower() == ".json" else list(csv.DictReader(io.StringIO(text)))
        return {each["out"]: _read_row(each) for each in values}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


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
