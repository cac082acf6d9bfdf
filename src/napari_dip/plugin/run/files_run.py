"""Restores all images of a folder into another one, with the settings of the form."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_info
from qtpy.QtWidgets import QFileDialog, QWidget

from ...interruption import Interrupted
from ...many.folder_report import Row
from ...many.past_runs import keep_run, recall_runs
from ...pace import FilesTimer, Pace, say_time_left
from ...request import Hooks, Request
from ..words import capitalise
from .file_words import shorten_paths
from .run_controls import RunControls
from .run_words import RunState
from .worker import Job

if TYPE_CHECKING:
    from ...many.stack import PlaneProgress

_REPORT = "report.csv"
_SECONDS_BETWEEN = 1.0  # the words about a file in work


@dataclass(frozen=True, slots=True)
class FilesReport:
    """How far a folder is.

    Attributes
    ----------
    done, count : int
        Files that are finished or have failed, and all files.
    name : str
        The file in work; empty at the end.
    row : Row or None
        About the file that has just ended.
    seconds_left : (float, float) or None
        The least and the most for all files that are left.
    expected : str
        What all files will take, in words; only before the first one.
    """

    done: int
    count: int
    name: str = ""
    row: Row | None = None
    seconds_left: tuple[float, float] | None = None
    expected: str = ""


class FilesRun:
    """At most one folder at a time.

    Parameters
    ----------
    controls : RunControls
        Shows how far it is.
    """

    def __init__(self, controls: RunControls) -> None:
        self._controls = controls
        self._stop = threading.Event()
        self._job: Job | None = None
        self._closed = False
        self._source = self._folder = Path()
        self._done = self._count = self._other = 0
        self._failed: list[Row] = []
        self._expected = ""

    @property
    def running(self) -> bool:
        """Whether files are being restored."""
        return self._job is not None

    def ask_and_start(self, options: Request, original_type: bool, parent: QWidget) -> None:
        """Ask for the two folders, and begin."""
        source = QFileDialog.getExistingDirectory(parent, "Folder with the images to restore")
        folder = source and QFileDialog.getExistingDirectory(parent, "Folder for the results", source)
        if folder:
            self.start(Path(source), Path(folder), options, original_type)

    def start(self, source: Path, folder: Path, options: Request, original_type: bool) -> None:
        """Restore the images in one folder into another; results of an earlier run are kept."""
        self._stop.clear()
        self._source, self._folder, self._failed, self._expected = source, folder, [], ""
        self._done = self._count = self._other = 0
        if source.resolve() == folder.resolve():
            self._on_error(ValueError("the results need a folder of their own, apart from the images."))
            return
        self._controls.show_running(True, can_pause=False)
        self._controls.show_state(RunState(0, 1, "", "Looking for images …", ""))
        self._say("Looking for images …")
        self._job = Job(
            restore_files_in_worker, source, folder, options, original_type, self._must_stop, self._tell,
            on_progress=self._show, on_error=self._on_error, on_result=self._on_end, on_finished=self._on_finished,
        )  # fmt: skip
        self._job.start()

    def stop(self) -> None:
        """End; the files that are finished stay, and the one in work is not written."""
        self._stop.set()

    def close(self) -> None:
        """End because the form closes; say the rest in a notification."""
        self._closed = True
        self.stop()

    def _must_stop(self) -> bool:
        """Return whether the user wants it to stop, or the window closes."""
        return self._stop.is_set() or (self._job is not None and self._job.was_asked_to_quit)

    def _tell(self, report: FilesReport) -> None:
        if self._job is not None:
            self._job.tell(report)

    def _show(self, report: FilesReport) -> None:
        self._done, self._count = report.done, report.count
        if report.row is not None and report.row.status == "failed":
            self._failed.append(report.row)
        if report.row is not None and report.row.status == "kept" and report.row.error:
            self._other += 1
        if self._closed:
            return
        self._expected = report.expected or self._expected
        done = f"{report.done} of {report.count} files"
        text = ", ".join(filter(None, (done, say_time_left(report.seconds_left))))
        self._controls.show_state(RunState(report.done, report.count, "", text, self._expected))
        if self._stop.is_set():
            return
        if report.name:
            self._say(f"Restoring {report.name}; {done} are done …")
        elif report.expected:
            self._say(report.expected)

    def _on_end(self, nothing: None) -> None:
        good = self._done - len(self._failed)
        where = f" in “{self._folder.name}”"
        failed = ""
        if self._failed:
            first = self._failed[0]
            name, why = Path(first.source).name, self._shorten(first.error)
            failed = f" {len(self._failed)} failed; {why if why.startswith(name) else f'{name}: {why}'}"
        kept = ""
        if self._other:
            were = "1 of them was" if self._other == 1 else f"{self._other} of them were"
            kept = f" {were} there before, made with other settings; choose an empty folder to restore all again."
        if self._stop.is_set() and self._done < self._count:
            self._say(
                f"Stopped: {good} of {self._count} files are restored{where}. Choose the same folders to go "
                f"on.{kept}{failed}"
            )
        else:
            self._say(
                f"Finished: {good} of {self._count} files are restored{where}; see {_REPORT} there.{kept}{failed}"
            )

    def _on_error(self, error: Exception) -> None:
        if isinstance(error, Interrupted):
            self._say("Stopped.")
            return
        sentence = self._shorten(capitalise(str(error) or type(error).__name__))  # first, else of a file's name
        show_error(sentence)
        if not self._closed:
            self._say(sentence)

    def _on_finished(self) -> None:
        self._job = None
        if not self._closed:
            self._controls.show_running(False)

    def _say(self, sentence: str) -> None:
        if self._closed:
            show_info(sentence)
        else:
            self._controls.say(sentence, tooltip=f"Images: {self._source}\nResults: {self._folder}")

    def _shorten(self, sentence: str) -> str:
        return shorten_paths(sentence, (self._source, self._folder))


def restore_files_in_worker(
    source: Path,
    folder: Path,
    options: Request,
    original_type: bool,
    stop_requested: Callable[[], bool],
    tell: Callable[[FilesReport], None],
) -> Generator[FilesReport, None, None]:
    """Restore the images of a folder, and write the report that the command line writes.

    Raises
    ------
    ValueError, OSError
        If there are no images, or the results cannot be written; an image that fails is reported in its row.
    """
    from ...many.file_job import FileJob
    from ...many.folder import find_files, list_unfinished, plan_jobs, restore_files
    from ...many.run_estimate import describe_files, estimate_files
    from ...many.tasks import find_devices

    model = FileJob(source, folder, request=options, same_type=original_type, resume=True)
    jobs = plan_jobs(find_files(str(source)), folder, model, suffix=None, mask=None)
    devices, _ = find_devices(options.settings.device, options.settings.precision)
    done, pace = 0, Pace(_SECONDS_BETWEEN)
    hooks = Hooks(stop_requested, pace.is_due, quick_estimates=True)
    to_do = list_unfinished(jobs)
    found = estimate_files(to_do, recall_runs(), devices=len(devices))
    timer = FilesTimer(len(to_do), None if found is None else found.run.seconds)

    def watch(job: FileJob, progress: PlaneProgress) -> None:
        pace.mark_shown()
        if progress.result is not None:
            keep_run(progress.result)
        tell(FilesReport(done, len(jobs), job.source.name, seconds_left=timer.seconds_left))

    expected = "" if found is None else describe_files(found)
    yield FilesReport(0, len(jobs), seconds_left=timer.seconds_left, expected=expected)
    for row in restore_files(jobs, folder / _REPORT, devices=devices, watch=watch, hooks=hooks):
        if stop_requested() and row.status == "failed":
            continue  # it was not started, or not written
        done += 1
        if row.status != "kept":
            timer.end_file(is_done=row.status == "done")
        yield FilesReport(done, len(jobs), row=row, seconds_left=timer.seconds_left)
