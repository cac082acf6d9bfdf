"""Progress in a terminal: of one image, a stack, or many files; Ctrl-C stops and keeps."""

from __future__ import annotations

import dataclasses
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from numpy.typing import NDArray

from .many.file_job import FileJob, restore_file
from .many.folder import restore_files
from .many.tasks import find_devices
from .measurement.task import find_task
from .pace import Pace, say_time_left
from .settings import Settings

if TYPE_CHECKING:
    from rich.progress import Progress as ProgressBar

    from .outcome import Progress, Restoration

_SECONDS_BETWEEN_REPORTS = 0.2


def restore_with_progress(
    image: NDArray,
    mask: NDArray | None,
    task: str,
    settings: Settings,
    factor: int | None = None,
    quantisation_table: NDArray | None = None,
) -> Restoration:
    """Restore with a progress bar on stderr; Ctrl-C stops and keeps."""
    from .restoration import restore_steps

    _say_device(settings)
    with stop_on_interrupt() as stop, _progress_bar() as bar:
        shown, pace = _Steps(bar), Pace(_SECONDS_BETWEEN_REPORTS)
        steps = restore_steps(
            image, mask, task, factor, settings, quantisation_table=quantisation_table, stop_requested=stop.is_set,
            report_wanted=pace.is_due, quick_estimates=True,
        )  # fmt: skip
        for progress in steps:
            pace.made()
            shown.show(progress)
    result = progress.result
    assert result is not None
    _say_result(result)
    return result


def restore_one(job: FileJob, *, client: Any = None) -> Restoration | None:
    """Restore one file with a progress bar on stderr; return the result if it is one plane."""
    if client is None:
        _say_device(job.settings)
    results: list[Restoration] = []
    with stop_on_interrupt() as stop, _progress_bar() as bar:
        shown, pace = _Steps(bar), Pace(_SECONDS_BETWEEN_REPORTS)
        planes = None

        def watch(each: Any) -> None:
            nonlocal planes
            pace.made()
            if each.count > 1 and planes is None:
                planes = bar.add_task("planes", total=each.count, of=f"{each.count} planes", left="")
            shown.show(each.progress)
            if each.result is not None:
                results[:] = [each.result]
                if planes is not None:
                    bar.update(planes, completed=each.number)
                    shown.begin_anew()

        outcome = restore_file(job, watch=watch, stop_requested=stop.is_set, report_wanted=pace.is_due, client=client)
    for warning in outcome.warnings:
        typer.echo(warning, err=True)
    alone = results[0] if outcome.planes == 1 and results else None
    if alone is not None:
        _say_result(alone)
    else:
        typer.echo(f"{outcome.planes} planes, chosen step {outcome.step} (median), {outcome.seconds:.0f} s.")
    say(f"Written: {', '.join(str(path) for path in job.outputs.values() if path.exists())}")
    return alone


def restore_many(jobs: Sequence[FileJob], report: Path, *, overwrite: bool, client: Any = None) -> bool:
    """Restore files with progress bars on stderr; return whether all succeeded."""
    settings = jobs[0].settings
    devices, refusals = find_devices(settings.device, settings.precision) if client is None else ((), ())
    for refusal in refusals:
        typer.echo(refusal, err=True)
    for device in devices:
        _say_device(dataclasses.replace(settings, device=device))
    counts = dict.fromkeys(("done", "kept", "failed"), 0)
    with stop_on_interrupt() as stop, _progress_bar() as bar:
        shown, pace = _Steps(bar), Pace(_SECONDS_BETWEEN_REPORTS)

        def watch(job: FileJob, each: Any) -> None:
            pace.made()
            if len(devices) == 1:  # of several at once the steps would jump
                shown.show(each.progress, f"{job.source.name} {each.plane.describe()}")
                if each.result is not None:
                    shown.begin_anew()

        rows = restore_files(
            jobs, report, devices=devices, client=client, overwrite=overwrite, watch=watch, stop_requested=stop.is_set,
            report_wanted=pace.is_due,
        )  # fmt: skip
        files = bar.add_task("files", total=len(jobs), of=f"{len(jobs)} files", left="")
        for row in rows:
            counts[row.status] += 1
            bar.update(files, advance=1)
            if row.error:
                bar.console.print(f"{row.source}: {row.error}", markup=False, highlight=False, soft_wrap=True)
    left = len(jobs) - sum(counts.values())
    say(
        f"{counts['done']} done, {counts['kept']} kept, {counts['failed']} failed"
        + (f", {left} not begun" if left else "")
        + f"; report: {report}"
    )
    return counts["failed"] == 0 and left == 0


def say(text: str) -> None:
    """Print a line in which there may be the name of a file, which need not be UTF-8."""
    typer.echo(text.encode(errors="backslashreplace").decode())


class _Steps:
    """A bar for each stage of the image at work."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self._bars: dict[str, Any] = {}

    def show(self, progress: Progress, name: str = "") -> None:
        """Show how far a stage is."""
        if progress.stage not in self._bars:
            self._bars[progress.stage] = self._bar.add_task("", of="", left="")
        self._bar.update(
            self._bars[progress.stage], completed=progress.step, total=progress.step_limit,
            description=f"{progress.doing} {name}".strip(), of=f"at most {progress.step_limit} steps",
            left=say_time_left(progress.seconds_left),
        )  # fmt: skip

    def begin_anew(self) -> None:
        """Take the bars away: the next image has its own."""
        for each in self._bars.values():
            self._bar.remove_task(each)
        self._bars = {}


def _progress_bar() -> ProgressBar:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as ProgressBar

    count = TextColumn("{task.completed:.0f} of {task.fields[of]}")
    columns = (TextColumn("{task.description}"), BarColumn(20), count, TextColumn("{task.fields[left]}"))
    return ProgressBar(*columns, console=Console(stderr=True))


def _say_device(settings: Settings) -> None:
    from .device_check import choose_proven_device

    typer.echo(choose_proven_device(settings.device, settings.precision).reason, err=True)


def _say_result(result: Restoration) -> None:
    if find_task(result.record.task).knows_quantisation:  # whose table was read, or estimated
        typer.echo(f"What was compared: {result.record.compared}.", err=True)
    if result.note:
        typer.echo(result.note, err=True)
    typer.echo(
        f"Step {result.step} of {result.record.stop_step} was chosen: {result.stop_reason.value} "
        f"({result.record.seconds:.0f} s)."
    )


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """Set an event at the first Ctrl-C, which stops and keeps; the second ends at once."""
    stop = threading.Event()

    def interrupt(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        print("\nstopping, and keeping the best so far ...", file=sys.stderr)

    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield stop
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
