"""Progress in a terminal, and what to expect, for an image, a stack or many files; Ctrl-C and SIGTERM stop and keep."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from .many.file_job import FileJob, FileOutcome, OpenedJob
from .many.file_plan import spell
from .many.file_restoration import restore_file
from .many.folder import list_unfinished, restore_files
from .many.past_runs import keep_run, recall_runs
from .many.tasks import find_devices
from .measurement.task import find_task
from .pace import FilesTimer, Pace, say_time_left
from .request import NO_REPORTS, Hooks, Request
from .settings import Settings

if TYPE_CHECKING:
    from rich.progress import Progress as ProgressBar

    from .many.stack import PlaneProgress
    from .outcome import Progress, Restoration

_SECONDS_BETWEEN_REPORTS = 0.2


def restore_with_progress(image: np.ndarray, request: Request, stop: Stop) -> Restoration:
    """Restore an array, with a progress bar on stderr."""
    from .restoration import restore_steps

    with _progress_bar() as bar:
        shown = _Steps(bar, stop)
        for progress in restore_steps(image, **request.arguments, **shown.hooks.arguments):
            shown.show(progress)
    result = progress.result
    assert result is not None
    keep_run(result)
    _say_result(result)
    return result


def restore_one(
    job: FileJob, stop: Stop, *, overwrite: bool = False, client: Any = None
) -> tuple[FileOutcome, Restoration | None]:
    """Restore one file with a progress bar on stderr; return its outcome, and the result if it has only one plane."""
    single: Restoration | None = None
    with _progress_bar() as bar:
        shown = _Steps(bar, stop)
        planes = None

        def watch(each: PlaneProgress) -> None:
            nonlocal single, planes
            if each.count > 1 and planes is None:
                planes = bar.add_task("planes", total=each.count, of=f"{each.count} planes", left="")
            shown.show(each.progress)
            if each.result is not None:
                if client is None:
                    keep_run(each.result)
                single = each.result
                if planes is not None:
                    bar.update(planes, completed=each.number)
                    shown.clear()

        outcome = restore_file(job, watch=watch, hooks=shown.hooks, overwrite=overwrite, client=client)
    for warning in outcome.warnings:
        say(warning, err=True)
    single = single if outcome.planes == 1 else None
    if single is not None:
        _say_result(single)
    else:
        helped = "" if outcome.helped is None else f" Neighbouring planes helped {outcome.helped or 'none'} of them."
        say(f"{outcome.planes} planes, chosen step {outcome.step} (median), {outcome.seconds:.0f} s.{helped}")
    say(f"Written: {', '.join(str(path) for name, path in job.outputs.items() if name not in outcome.left_out)}")
    return outcome, single


def restore_many(jobs: Sequence[FileJob], report: Path, stop: Stop, *, overwrite: bool, client: Any = None) -> bool:
    """Restore files with progress bars on stderr; return whether all of them succeeded."""
    settings = jobs[0].request.settings
    devices, refusals = find_devices(settings.device, settings.precision) if client is None else ((), ())
    for refusal in refusals:
        say(refusal, err=True)
    for device in devices:
        say_device(dataclasses.replace(settings, device=device))
    timer = _expect_files(list_unfinished(jobs, overwrite=overwrite), len(devices))
    counts = dict.fromkeys(("done", "kept", "failed"), 0)
    with _progress_bar() as bar:
        shown = _Steps(bar, stop)
        # with several devices, the steps shown would jump from file to file
        hooks = shown.hooks if len(devices) == 1 else dataclasses.replace(NO_REPORTS, stop_requested=stop.is_set)

        def watch(job: FileJob, each: PlaneProgress) -> None:
            if len(devices) == 1:
                shown.show(each.progress, f"{spell(job.source.name)} {each.plane.describe()}")
                if each.result is not None:
                    shown.clear()
            if each.result is not None:
                keep_run(each.result)
            bar.update(files, left=say_time_left(timer.seconds_left))

        rows = restore_files(
            jobs, report, devices=devices, client=client, overwrite=overwrite, watch=watch, hooks=hooks
        )
        files = bar.add_task("files", total=len(jobs), of=f"{len(jobs)} files", left="")
        for row in rows:
            counts[row.status] += 1
            if row.status != "kept":
                timer.end_file(is_done=row.status == "done")
            bar.update(files, advance=1, left=say_time_left(timer.seconds_left))
            if row.error:
                text = in_encoding(f"{row.source}: {row.error}", sys.stderr)
                bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
    left = len(jobs) - sum(counts.values())
    say(
        f"{counts['done']} done, {counts['kept']} kept, {counts['failed']} failed"
        + (f", {left} not started" if left else "")
        + f"; report: {report}"
    )
    return counts["failed"] == 0 and left == 0


def say_expected(opened: OpenedJob) -> None:
    """Print to stderr about how long a file will take, and how much memory, as far as that is known."""
    from .many.run_estimate import describe_estimate, estimate_file

    with suppress(ValueError, OSError):  # the run says what is wrong
        say(describe_estimate(estimate_file(opened, recall_runs()), opened.axes.count), err=True)


def _expect_files(jobs: Sequence[FileJob], devices: int) -> FilesTimer:
    """Print to stderr what these files will take; return what foresees how long they still take.

    Parameters
    ----------
    jobs : sequence of FileJob
    devices : int
        How many share the files; 0 for a cluster, of which nothing is known.
    """
    from .many.run_estimate import describe_files, estimate_files

    found = estimate_files(jobs, recall_runs() if devices else [], devices=max(1, devices))
    if found is not None:
        say(describe_files(found), err=True)
    return FilesTimer(len(jobs), None if found is None else found.run.seconds)


class _Steps:
    """A bar for each stage of the current image, updated as often as it can be shown."""

    def __init__(self, bar: ProgressBar, stop: Stop) -> None:
        self._bar, self._pace = bar, Pace(_SECONDS_BETWEEN_REPORTS)
        self._bars: dict[str, Any] = {}
        self.hooks = Hooks(stop.is_set, self._pace.is_due, quick_estimates=True)

    def show(self, progress: Progress, name: str = "") -> None:
        """Show the progress of a stage."""
        self._pace.mark_shown()
        if progress.stage not in self._bars:
            self._bars[progress.stage] = self._bar.add_task("", of="", left="")
        self._bar.update(
            self._bars[progress.stage], completed=progress.step, total=progress.step_limit,
            description=f"{progress.doing} {name}".strip(), of=f"at most {progress.step_limit} steps",
            left=say_time_left(progress.seconds_left),
        )  # fmt: skip

    def clear(self) -> None:
        """Remove the bars: the next image gets its own."""
        for each in self._bars.values():
            self._bar.remove_task(each)
        self._bars = {}


def _progress_bar() -> ProgressBar:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as ProgressBar

    # without markup, because "[/b].tif" is a valid file name
    texts = ("{task.description}", "{task.completed:.0f} of {task.fields[of]}", "{task.fields[left]}")
    doing, count, left = (TextColumn(text, markup=False) for text in texts)
    columns = (doing, BarColumn(20), count, left)
    return ProgressBar(*columns, console=Console(stderr=True))


def say_device(settings: Settings) -> None:
    """Print to stderr which device a run uses, and why."""
    from .device_check import choose_proven_device

    say(choose_proven_device(settings.device, settings.precision).reason, err=True)


def say(text: str, *, err: bool = False) -> None:
    """Print lines; characters that the terminal cannot show are escaped."""
    lines = "\n".join(map(spell, text.split("\n")))
    typer.echo(in_encoding(lines, sys.stderr if err else sys.stdout), err=err)


def in_encoding(text: str, stream: Any) -> str:
    """Return a text with the characters that a stream cannot encode escaped."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _say_result(result: Restoration) -> None:
    if find_task(result.record.task).takes("quantisation_table"):  # the user should know if the table was estimated
        say(f"Compared: {result.record.compared}.", err=True)
    if result.note:
        say(result.note, err=True)
    say(
        f"Step {result.step} of {result.record.stop_step} was chosen: {result.stop_reason.value} "
        f"({result.record.seconds:.0f} s)."
    )


class Stop:
    """Whether Ctrl-C or SIGTERM has requested a stop that keeps the best so far."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._number = 0

    def is_set(self) -> bool:
        """Return whether a stop was requested."""
        return self._event.is_set()

    def set(self, number: int) -> None:
        """Request a stop because of a signal with this number."""
        self._number = number
        self._event.set()

    @property
    def exit_code(self) -> int:
        """The exit code of an incomplete run: 130 after Ctrl-C, 143 after SIGTERM (as in shells), otherwise 1."""
        return 128 + self._number if self.is_set() else 1


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Request a stop at the first Ctrl-C or SIGTERM; end at once at the second.

    Raises
    ------
    typer.Exit
        With ``Stop.exit_code``, if the block ended because it was stopped.
    """
    stop = Stop()

    def interrupt(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set(number)
        with suppress(OSError):  # print may be in the middle of another line
            os.write(2, b"\nstopping and keeping the best so far; a second Ctrl-C ends at once ...\n")

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():  # only the main thread may handle signals
        for number in (signal.SIGINT, signal.SIGTERM):
            # None: not set by Python, so it could not be restored. SIG_IGN: whoever started us wants it ignored
            if signal.getsignal(number) not in (None, signal.SIG_IGN):
                before[number] = signal.signal(number, interrupt)
    try:
        yield stop
    except InterruptedError as error:
        if not stop.is_set():
            raise
        say(f"napari-dip: {error}", err=True)
        raise typer.Exit(stop.exit_code) from error
    except KeyboardInterrupt as error:
        if not stop.is_set():
            raise
        say("napari-dip: ended at once; nothing else was written.", err=True)
        raise typer.Exit(stop.exit_code) from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
