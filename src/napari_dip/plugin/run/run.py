"""One run in napari's worker: start, pause, stop."""

from __future__ import annotations

import atexit
import gc
import threading
import time
import weakref
from collections.abc import Callable, Mapping

from qtpy.QtCore import QThreadPool

from ...record import Record
from ..layers.source import Place
from ..request import LayerRequest
from .restoring import RunReport, restore_in_worker
from .worker import Job

_MS_AT_EXIT = 30_000
_runs: weakref.WeakSet[Run] = weakref.WeakSet()


@atexit.register
def _end_runs() -> None:
    """End all workers before Qt shuts down.

    napari waits for them only if its event loop ran; without that, the process would abort.
    """
    for run in list(_runs):
        run.abandon()
    gc.collect()  # here, not in a worker: PySide6 crashes at exit if another thread collects a closed window
    QThreadPool.globalInstance().waitForDone(_MS_AT_EXIT)


class _Stop:
    """What the work asks whether to go on: the user may have stopped it, or the window may be closing."""

    def __init__(self, run: Run) -> None:
        self._run = weakref.ref(run)

    def is_set(self) -> bool:
        """Return whether to stop."""
        run = self._run()
        return run is None or run.stopping or run.window_closes


class Run:
    """A request being worked on; the callbacks run in the window's thread.

    Parameters
    ----------
    request : LayerRequest
    finished : mapping
        The records of planes that an earlier run has finished.
    on_report, on_phase, on_end, on_error, on_finished : callable
        Called with each report; with words for what is being done between reports; when the run ends without an error;
        with the exception that ended it; and always last.
    """

    def __init__(
        self,
        request: LayerRequest,
        finished: Mapping[Place, Record],
        *,
        on_report: Callable[[RunReport], None],
        on_phase: Callable[[str], None],
        on_end: Callable[[None], None],
        on_error: Callable[[Exception], None],
        on_finished: Callable[[], None],
    ) -> None:
        self.request = request
        self._stop, self._unpaused = threading.Event(), threading.Event()
        self._unpaused.set()
        self._cancelled = self.was_paused = False
        self._started = time.perf_counter()
        self._on_report, self._on_phase = on_report, on_phase
        self._job = Job(
            restore_in_worker, request, _Stop(self), self._unpaused, finished, self._tell,
            on_progress=self._show, on_result=on_end, on_error=on_error, on_finished=on_finished,
        )  # fmt: skip

    def start(self) -> None:
        """Begin."""
        _runs.add(self)
        self._job.start()

    def _tell(self, words: str) -> None:
        """Pass on, from the worker's thread, what it begins."""
        self._job.tell(words)

    def _show(self, told: RunReport | str) -> None:
        if isinstance(told, str):
            self._on_phase(told)
        else:
            self._on_report(told)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._started

    @property
    def stopping(self) -> bool:
        """Whether the run was asked to stop."""
        return self._stop.is_set()

    @property
    def abandoned(self) -> bool:
        """Whether it ends without a result."""
        return self._job.was_asked_to_quit

    @property
    def window_closes(self) -> bool:
        """Whether napari has asked the worker to quit, because its window closes."""
        return self.abandoned and not self._cancelled

    @property
    def paused(self) -> bool:
        """Whether the run was asked to pause."""
        return not self._unpaused.is_set()

    def stop(self) -> None:
        """End and keep the best result so far."""
        self._stop.set()
        self._unpaused.set()

    def abandon(self) -> None:
        """End without a result."""
        self._cancelled = True
        self.stop()
        self._job.quit()

    def pause(self) -> None:
        """Wait after the current steps."""
        self.was_paused = True
        self._unpaused.clear()

    def resume(self) -> None:
        """Continue after a pause."""
        self._unpaused.set()
